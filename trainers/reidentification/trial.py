"""What is asked of a reader: which images are queries, and in which gallery their people are to be found."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.market1501 import DISTRACTORS_SPLIT
from unbraid.trainers.measures.reidentification import Sightings, answerable
from unbraid.trainers.reidentification.identities import IdentityImages, IdentitySet

QUERY_SPLIT, GALLERY_SPLIT = "query", "test"
"""As the published set is split."""


@dataclass(frozen=True)
class Trial:
    """Queries and a gallery.

    Attributes:
        answerable: queries that have a right answer; the others are left out.
        rule: how queries were chosen and what is left out of their galleries, in words.
    """

    queries: IdentityImages
    gallery: IdentityImages
    answerable: int
    rule: str


def read_trial(identities: IdentitySet, split: str, size: tuple[int, int]) -> Trial:
    """Read queries and gallery of a split.

    Of ``test``, in a set with the split ``query``, the queries are that split, and the gallery is ``test`` and the distractors.
    Elsewhere the first image of each person by each camera is a query, and all images of the split are the gallery.

    Args:
        size: (height, width) to which images are resized.

    Raises:
        DataError: when there is no such split, nobody or only one person is known there, or no query can be answered.
    """
    if split == GALLERY_SPLIT and QUERY_SPLIT in identities.splits:
        queries, gallery = identities.read(QUERY_SPLIT, size), identities.read(GALLERY_SPLIT, size)
        if DISTRACTORS_SPLIT in identities.splits:
            gallery = _joined(gallery, identities.read(DISTRACTORS_SPLIT, size))
        chosen = "the images of split query are queries"
    else:
        gallery = identities.read(split, size)
        by = "" if gallery.seen.camera is None else " by each camera"
        queries, chosen = _first_images(gallery), f"without a query split, the first image of each person{by} is a query"
    require_people(gallery)
    found = answerable(queries.seen, gallery.seen)
    by_camera = queries.seen.camera is not None and gallery.seen.camera is not None
    if not found:
        there = "seen there by another camera" if by_camera else "seen there in another image"
        raise DataError(f"{gallery.where}: of no query is the person {there}; name a set with several images of each person")
    left_out = "images of its person by its own camera" if by_camera else "the query itself, because cameras are not known"
    return Trial(queries, gallery, found, f"{chosen}; left out of a query's gallery: junk, and {left_out}")


def require_people(images: IdentityImages) -> None:
    """Check that there are two people at least, and two images of one of them.

    Raises:
        DataError: when not.
    """
    known = images.seen.person[images.seen.person >= 0]
    people = len(known.unique())
    if people < 2:
        found = "nobody is known" if not people else "only one person is known"
        raise DataError(f"{images.where}: {found} (field person); people are told apart from two identities on")


def require_repeated(images: IdentityImages) -> None:
    """Check that somebody is seen in two images.

    Raises:
        DataError: when not.
    """
    require_people(images)
    if images.identities == int((images.seen.person >= 0).sum()):
        raise DataError(
            f"{images.where}: no two images show one person (field person); nothing can be learnt about who is the same: name "
            "a set with several images of each person"
        )


def _first_images(gallery: IdentityImages) -> IdentityImages:
    """The first image of each person by each camera; where cameras are not known, the first of each person."""
    first: dict[tuple[int, int], int] = {}
    camera = gallery.seen.camera
    cameras = [0] * len(gallery) if camera is None else camera.tolist()
    for row, seen in enumerate(zip(gallery.seen.person.tolist(), cameras, strict=True)):
        if seen[0] >= 0:
            first.setdefault(seen, row)
    rows = torch.tensor(sorted(first.values()), dtype=torch.long)
    seen_there = Sightings(gallery.seen.person[rows], None if camera is None else camera[rows], rows)
    return IdentityImages(gallery.where, gallery.images[rows], seen_there)


def _joined(gallery: IdentityImages, distractors: IdentityImages) -> IdentityImages:
    cameras = [images.seen.camera for images in (gallery, distractors)]
    known = [camera for camera in cameras if camera is not None]
    return IdentityImages(
        f"{gallery.where} and {DISTRACTORS_SPLIT}",
        torch.cat([gallery.images, distractors.images]),
        Sightings(torch.cat([gallery.seen.person, distractors.seen.person]), torch.cat(known) if len(known) == 2 else None),
    )
