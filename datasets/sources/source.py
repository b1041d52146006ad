"""What a raw data set is to the packer: its samples, listed but not yet read."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from unbraid.datasets.shards.index import Field

IMAGE_EXTENSIONS = ("png", "jpg")
SPLIT_FOLDERS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
"""The split that a folder of raw files names."""


class UnusableSampleError(Exception):
    """One sample cannot be packed; the message names its file and what is wrong with it."""


@dataclass(frozen=True)
class Item:
    """One sample to pack.

    Attributes:
        key: of the sample, unique in its split.
        load: returns the encoded members by extension; raises :class:`UnusableSampleError`.
        fingerprint: changes when the raw data does; a repeated packing skips shards whose items have the same.
    """

    key: str
    load: Callable[[], Mapping[str, bytes]]
    fingerprint: str


@dataclass(frozen=True)
class Source:
    """A raw data set, listed but not yet read.

    Attributes:
        name, licence, origin: for the index.
        fields: what a batch will hold.
        splits: items of each split, in a fixed order.
        classes, attributes: names, see :class:`unbraid.datasets.shards.index.Index`.
        shuffle: whether items are shuffled (always in the same way) before they are dealt to shards; needed wherever
            neighbours are alike.
        is_computed: whether loading an item takes arithmetic more than reading, so that processes are faster than threads.
            The items must then be picklable.
        recipe: how synthetic images are drawn, empty for photographs; see :class:`unbraid.datasets.shards.index.Index`.
        left_out: what was found but is not packed, with the reason, for the report.
    """

    name: str
    fields: Mapping[str, Field]
    splits: Mapping[str, Sequence[Item]]
    licence: str = "unknown"
    origin: str = ""
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    shuffle: bool = True
    is_computed: bool = False
    recipe: Mapping[str, str | int] = field(default_factory=dict)
    left_out: Sequence[str] = field(default_factory=tuple)


def image_field(shape: tuple[int, ...] | None, prefix: str = "") -> Field:
    """Describe an image of ``shape`` (C, H, W), stored as ``PREFIX.png`` or ``PREFIX.jpg``."""
    return Field("image", tuple(f"{prefix}{extension}" for extension in IMAGE_EXTENSIONS), shape)


def label_field() -> Field:
    """Describe a class number, stored as ``cls``."""
    return Field("integer", ("cls",))


def key_of(name: str) -> str:
    """Make a sample's key from its file's name: ``cat/1.jpg`` → ``cat/1_jpg``. A dot would begin an extension."""
    return name.replace(".", "_")


def split_of(name: str, test_share: float) -> str:
    """Return the split that a folder on the path names, else one chosen by the hash of the name."""
    folders = (part.lower() for part in PurePosixPath(name).parent.parts)
    return next((SPLIT_FOLDERS[part] for part in folders if part in SPLIT_FOLDERS), None) or split_by_hash(name, test_share)


def split_by_hash(name: str, test_share: float) -> str:
    """Return ``train`` or ``test`` by the name alone, so that added files never move the others."""
    return "test" if zlib.crc32(name.encode()) / 2**32 < test_share else "train"


def fingerprint(*parts: object) -> str:
    """Join several values into one string that changes when any of them does."""
    return json.dumps(parts)
