"""Images of people whose identities are known, from a packed set or from a folder in Market-1501's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import INDEX_KEY, read_index
from unbraid.datasets.sources.market1501 import DISTRACTORS_SPLIT
from unbraid.datasets.sources.market1501_folder import Market1501Folder
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split
from unbraid.trainers.measures.reidentification import DISTRACTOR, JUNK, Sightings

READ_BATCH = 500
PUBLISHED_DISTRACTOR = 0
"""Person 0000 of the published files, where no identity has that number."""


@dataclass(frozen=True)
class IdentityImages:
    """N images of people.

    Attributes:
        where: the set and split, for messages.
        images: (N, 3, H, W) uint8.
        seen: who is seen in each, and by which camera.
    """

    where: str
    images: Tensor
    seen: Sightings

    @property
    def identities(self) -> int:
        """How many people there are; junk and distractors are nobody."""
        return len(self.seen.person[self.seen.person >= 0].unique())

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        known = int((self.seen.person >= 0).sum())
        others = {"distractors": DISTRACTOR, "junk": JUNK}
        counts = {name: int((self.seen.person == number).sum()) for name, number in others.items()}
        rest = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
        return f"{self.where}: {known:,} images of {self.identities:,} people{rest}"


class IdentitySet(Protocol):
    """A set of images of people.

    Attributes:
        where: names it in messages.
        splits: that hold images.
        size: (height, width) of its images; None where they are of several sizes.
    """

    where: str

    @property
    def splits(self) -> tuple[str, ...]: ...

    @property
    def size(self) -> tuple[int, int] | None: ...

    def read(self, split: str, size: tuple[int, int]) -> IdentityImages:
        """All images of a split, resized.

        Raises:
            DataError: when there is no such split, or an image cannot be read.
        """
        ...


def open_identities(reference: str) -> IdentitySet:
    """Open a packed set by its URL, or a folder or an archive in Market-1501's layout.

    Raises:
        DataError: when it is neither, or a packed set does not say who is seen.
    """
    path = Path(reference).expanduser()
    if "://" in reference or (path / INDEX_KEY).exists():
        return _PackedSet(reference)
    return _LaidOutSet(Market1501Folder(path))


class _PackedSet:
    def __init__(self, url: str) -> None:
        index = read_index(open_store(url))
        self.where = url
        missing = [name for name in ("image", "person") if name not in index.fields]
        if missing:
            raise DataError(
                f"{url}: does not say who is seen: it has no field {' and no field '.join(missing)}; its fields are "
                f"{', '.join(index.fields)}. Name a set of people, such as `unbraid data make people` and `unbraid data pack "
                "market1501` write"
            )
        self.splits = tuple(name for name, shards in index.splits.items() if shards)
        field = index.fields["image"]
        self.size = None if field.has_several_sizes else (field.shape[1], field.shape[2])

    def read(self, split: str, size: tuple[int, int]) -> IdentityImages:
        _require_split(self, split)
        batches = list(read_split(self.where, split, READ_BATCH, fit=size if size != self.size else None))
        used = [name for name in ("image", "person", "camera") if name in batches[0]]
        columns = {name: torch.cat([batch[name] for batch in batches]) for name in used}
        person = columns["person"].where(columns["person"] >= 0, JUNK)
        if split == DISTRACTORS_SPLIT:
            person = person.where(person != PUBLISHED_DISTRACTOR, DISTRACTOR)
        images = columns["image"].expand(-1, 3, -1, -1).contiguous()
        return IdentityImages(f"{self.where}, split {split}", images, Sightings(person, columns.get("camera")))


class _LaidOutSet:
    def __init__(self, folder: Market1501Folder) -> None:
        self._folder, self.where = folder, folder.where
        self.splits, self.size = tuple(folder.splits), folder.size

    def read(self, split: str, size: tuple[int, int]) -> IdentityImages:
        _require_split(self, split)
        columns = {name: torch.from_numpy(array) for name, array in self._folder.read(split, size).items()}
        person = columns["person"].where(columns["person"] != PUBLISHED_DISTRACTOR, DISTRACTOR)
        images = columns["image"].permute(0, 3, 1, 2).contiguous()
        return IdentityImages(f"{self.where}, split {split}", images, Sightings(person, columns["camera"]))


def _require_split(identities: IdentitySet, split: str) -> None:
    if split not in identities.splits:
        raise DataError(f"{identities.where}: no images in split {split!r}; its splits are: {', '.join(identities.splits)}")
