"""Re-identification of people: rank-k and mean average precision by Market-1501's rule (Zheng et al., ICCV 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

JUNK, DISTRACTOR = -1, -2
"""Numbers in the place of a person. Junk counts neither for nor against a query; a distractor is always a wrong answer."""
RANKS = (1, 5, 10)
CHUNK = 256
"""Queries whose similarities to the whole gallery are in memory at a time."""


@dataclass(frozen=True)
class Sightings:
    """Who was seen, and by which camera, in N images.

    Attributes:
        person: (N,) the identity, or ``JUNK``, or ``DISTRACTOR``.
        camera: (N,); None where cameras are unknown.
        row: (N,) of queries that are images of the gallery themselves: their rows there. None where there are no such.
    """

    person: Tensor
    camera: Tensor | None = None
    row: Tensor | None = None

    def __len__(self) -> int:
        return len(self.person)


def reidentification_scores(queries: Tensor, gallery: Tensor, of_queries: Sightings, of_gallery: Sightings) -> dict[str, float]:
    """``rank_1``, ``rank_5`` and ``rank_10``, ``map`` and ``map_stepwise``: means over the queries that can be answered.

    For each query, images of the gallery are ranked by the cosine of features. Images that :func:`ranked` leaves out do not
    count. Of images as near as each other, wrong ones come first, so that equal features find nobody.

    Args:
        queries, gallery: features (N, D) and (M, D).

    Raises:
        ValueError: when no query has a right answer.
    """
    left, right = F.normalize(queries.float(), dim=1), F.normalize(gallery.float(), dim=1)
    answers = []
    for start in range(0, len(left), CHUNK):
        similarities = left[start : start + CHUNK] @ right.T
        masks = ranked(of_queries, of_gallery, range(start, start + len(similarities)))
        for similarity, (counts, is_right) in zip(similarities, masks, strict=True):
            if is_right.any():
                answers.append(_in_order(similarity[counts], is_right[counts]))
    if not answers:
        raise ValueError("no query has an image of the same person in the gallery")
    first = torch.tensor([int(hits.nonzero()[0]) for hits in answers])
    scores = {f"rank_{k}": (first < k).double().mean().item() for k in RANKS}
    precisions = torch.tensor([average_precision(hits) for hits in answers], dtype=torch.float64).mean(0)
    return scores | {"map": precisions[0].item(), "map_stepwise": precisions[1].item()}


def ranked(queries: Sightings, gallery: Sightings, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
    """For each of these queries, which images of the gallery are ranked for it, and which of them are right, (M,) each.

    Junk is left out, and so are images of the query's person by the query's camera. Without cameras only the query itself is.
    """
    is_known = gallery.person != JUNK
    for row in rows:
        is_same = gallery.person == queries.person[row]
        counts = is_known
        if queries.camera is not None and gallery.camera is not None:
            counts = counts & ~(is_same & (gallery.camera == queries.camera[row]))
        if queries.row is not None:
            counts = counts & (torch.arange(len(is_known), device=is_known.device) != queries.row[row])
        yield counts, is_same & counts


def answerable(queries: Sightings, gallery: Sightings) -> int:
    """How many queries have a right answer in the gallery."""
    return sum(bool(is_right.any()) for _, is_right in ranked(queries, gallery, range(len(queries))))


def average_precision(hits: Tensor) -> tuple[float, float]:
    """Area under the curve of precision over recall: by trapezoids, and by steps.

    Market-1501's own code takes trapezoids: at each right answer, the mean of the precision there and the precision one rank
    before, which is 1 before the first rank. Many later papers take steps, the precision at each right answer.

    Args:
        hits: (M,) whether the answer at each rank is right; one of them at least.
    """
    place = hits.nonzero()[:, 0].double()
    found = torch.arange(1, len(place) + 1, device=hits.device, dtype=torch.float64)
    precision = found / (place + 1)
    before = torch.where(place > 0, (found - 1) / place.clamp_min(1), 1.0)
    return ((precision + before) / 2).mean().item(), precision.mean().item()


def _in_order(similarity: Tensor, is_right: Tensor) -> Tensor:
    """``is_right`` (M,) from the most to the least similar; of equals, wrong ones first."""
    wrong_first = is_right.byte().argsort(stable=True)
    order = wrong_first[similarity[wrong_first].argsort(descending=True, stable=True)]
    return is_right[order]
