"""What a raw data set is to the packer: its samples, listed but not yet read."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.index import Field

IMAGE_EXTENSIONS = ("png", "jpg")


@dataclass(frozen=True)
class Item:
    """One sample to pack.

    Attributes:
        key: of the sample, unique in its split.
        load: returns the encoded members by extension; raises
            :class:`unbraid.datasets.raw.files.UnusableSampleError`.
        fingerprint: changes when the raw data does; a repeated packing skips shards whose items have the same.
        where: the file or files of the sample, for messages; empty for one that is drawn.
        group: names what it shows, such as a person, where others show the same; splits never divide a group. Empty: it is
            alone.
    """

    key: str
    load: Callable[[], Mapping[str, bytes]]
    fingerprint: str
    where: str = ""
    group: str = ""


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
        left_out: what was found but is not packed, by reason.
        unusable: why each sample that was found to be damaged cannot be packed; each names its file.
        understood: lines that say how the raw files were understood, for the report before packing.
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
    left_out: Tally = field(default_factory=Tally)
    unusable: Sequence[str] = ()
    understood: Sequence[str] = ()


def image_field(shape: tuple[int, ...], prefix: str = "") -> Field:
    """Describe an image of ``shape`` (C, H, W), (C, 0, 0) for several sizes, stored as ``PREFIX.png`` or ``PREFIX.jpg``."""
    return Field("image", tuple(f"{prefix}{extension}" for extension in IMAGE_EXTENSIONS), shape)


def label_field() -> Field:
    """Describe a class number, stored as ``cls``."""
    return Field("integer", ("cls",))


def fingerprint(*parts: object) -> str:
    """Join several values into one string that changes when any of them does."""
    return json.dumps(parts)
