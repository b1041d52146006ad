"""Reads and writes ``index.json``, which describes a packed set, its shards and their tables."""

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints
from pydantic import Field as Bounded

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.datasets.store.protocol import AbsentError
from unbraid.datasets.untrusted.documents import LARGEST_JSON, Count, Name, Sha256, Text, parse_json
from unbraid.datasets.untrusted.keys import Key

INDEX_KEY = "index.json"
FORMAT = "unbraid-shards"
VERSION = 4
MAKE_AGAIN = "pack the set again, or index its tars again"
"""What messages about damaged or changed sets advise."""
LARGEST_VALUE = 1 << 26
"""Numbers in one decoded value: an image of 4700 x 4700."""

FieldKind = Literal["image", "integer", "array"]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Extension = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.]{0,63}$")]
Length = Annotated[int, Bounded(ge=0, le=LARGEST_VALUE)]


def _fits(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > LARGEST_VALUE:
        raise ValueError(f"a value of {math.prod(shape):,} numbers is not read, at most {LARGEST_VALUE:,} are")
    return shape


Shape = Annotated[tuple[Length, ...], Bounded(max_length=4)]


def _is_tar(name: str) -> str:
    if not name.endswith(".tar"):
        raise ValueError("the name of a shard ends with .tar")
    return name


@dataclass(frozen=True)
class Field:
    """Describes one field of a batch, and the member of each sample that holds it.

    Attributes:
        kind: ``image`` is JPEG or PNG → uint8 (C, H, W); ``integer`` is decimal text → int64; ``array`` is a
            ``.npy`` file → float32 of ``shape``.
        members: extensions under which a sample may hold it, such as ``("jpg", "png")``; a sample holds one of them.
        shape: of one decoded value; (C, 0, 0) for images of several sizes, of which a batch can be made by resizing only.
        is_plain: whether every image is stored upright, opaque and of 8 bits, as PNG or JPEG, so that the fastest decoders
            give its pixels.
        words: the numbers that texts stand for, of an integer field; empty where the members hold decimal numbers.
    """

    kind: FieldKind
    members: Annotated[tuple[Extension, ...], Bounded(min_length=1, max_length=32)]
    shape: Annotated[Shape, AfterValidator(_fits)] = ()
    is_plain: bool = True
    words: Annotated[Mapping[Text, Count], Bounded(max_length=200_000)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_image = self.kind == "image"
        if is_image and (len(self.shape) != 3 or self.shape[0] not in (1, 3) or (0 in self.shape and any(self.shape[1:]))):
            raise ValueError(f"an image has the shape (1 or 3, height, width), found {self.shape}")
        if not is_image and 0 in self.shape:
            raise ValueError(f"an {self.kind} has no side of length 0, found {self.shape}")
        if self.kind == "integer" and self.shape != ():
            raise ValueError(f"an integer has the shape (), found {self.shape}")

    @property
    def has_several_sizes(self) -> bool:
        """Whether its images differ in size."""
        return 0 in self.shape

    def __str__(self) -> str:
        if self.kind != "image":
            return f"{self.kind}, {'x'.join(map(str, self.shape)) or 'one number'}"
        size = "of several sizes" if self.has_several_sizes else f"{self.shape[1]}x{self.shape[2]} (height x width)"
        return f"image, {'grey' if self.shape[0] == 1 else 'colour'}, {size}"


def fitted_fields(fields: Mapping[str, Field], fit: tuple[int, int] | None) -> dict[str, Field]:
    """Return the fields of a set as batches have them.

    Args:
        fit: (height, width) to which images are resized when they are read; None keeps their sizes.
    """
    if fit is None:
        return dict(fields)
    return {name: replace(f, shape=(f.shape[0], *fit)) if f.kind == "image" else f for name, f in fields.items()}


@dataclass(frozen=True)
class Shard:
    """Describes one tar.

    Attributes:
        name: key under the set's URL.
        bytes: size of the tar.
        sha256: of the whole tar, hex.
        count: number of samples.
        table_sha256: of the shard's table, see :mod:`unbraid.datasets.shards.table`, hex.
    """

    name: Annotated[Key, AfterValidator(_is_tar)]
    bytes: Count
    sha256: Sha256
    count: Count
    table_sha256: Sha256

    @property
    def table_key(self) -> str:
        """Key of the table."""
        return self.name.removesuffix(".tar") + ".npy"


@dataclass(frozen=True)
class PackedFrom:
    """Says what a set was packed from, so that packing it again can tell whether anything differs.

    Attributes:
        source: the raw files.
        options: of the command.
        items: hex digest of all that decides the bytes of the set: keys, files, options, shards.
    """

    source: Text
    options: Annotated[Mapping[Name, Text], Bounded(max_length=64)]
    items: Sha256


@dataclass(frozen=True)
class Index:
    """Describes a packed data set.

    Attributes:
        name: of the set.
        fields: what a batch holds, by name; the order is that of the tables' columns.
        classes: names of the labels; empty without labels.
        licence, source: what may be done with the set, and where it comes from.
        splits: shards of each split, in order.
        attributes: names of the numbers in a field ``attributes``; empty without one.
        recipe: of a synthetic set: its generator, and the numbers from which any sample can be drawn again; else empty.
        left_out: how many of the raw files were not packed, by reason.
        packed_from: the raw files and options; None for a set that was not packed from any.
        tars: URL below which the tars lie, where that is another place than the index's; else empty.
        owns_tars: whether this program has written the tars. Those of others are neither changed nor deleted.
    """

    name: Name
    fields: Annotated[Mapping[FieldName, Field], Bounded(max_length=64)]
    classes: Annotated[tuple[Name, ...], Bounded(max_length=100_000)]
    licence: Text
    source: Text
    splits: Annotated[Mapping[Name, tuple[Shard, ...]], Bounded(max_length=64)] = field(default_factory=dict)
    attributes: Annotated[tuple[Name, ...], Bounded(max_length=10_000)] = ()
    recipe: Annotated[Mapping[Name, str | int], Bounded(max_length=64)] = field(default_factory=dict)
    left_out: Annotated[Mapping[Text, Count], Bounded(max_length=1000)] = field(default_factory=dict)
    packed_from: PackedFrom | None = None
    tars: Text = ""
    owns_tars: bool = True

    @property
    def digest(self) -> str:
        """Hex digest of every sample's content, of the order, names and sizes of shards, and of how samples are decoded.

        Each sample's SHA-256 is in its shard's table, whose own is in here; reading checks both. So whoever exchanges a sample
        changes the digest, or is found out.
        """
        fields = [(name, f.kind, f.members, f.shape, f.is_plain, sorted(f.words.items())) for name, f in self.fields.items()]
        splits = {
            split: [(s.name, s.sha256, s.count, s.table_sha256) for s in shards]
            for split, shards in sorted(self.splits.items())
        }
        return hashlib.sha256(json.dumps({"fields": fields, "splits": splits}).encode()).hexdigest()

    @property
    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """(C, H, W) of each image field; H and W are 0 where images are of several sizes."""
        return {name: f.shape for name, f in self.fields.items() if f.kind == "image"}

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split.

        Raises:
            DataError: when there is no such split, or it is empty.
        """
        if not self.splits.get(split):
            filled = ", ".join(name for name, shards in self.splits.items() if shards)
            raise DataError(
                f"{self.name}: no samples in split {split!r}; its splits are: {filled or 'none'}. Name one by data.split, "
                "data.validation_split or data.test_split"
            )
        return self.splits[split]


def write_index(store: Store, index: Index) -> None:
    """Write ``index.json``. It is written last, so that an incomplete set has none.

    Raises:
        DataError: when it could not be read again, because a value is too long or out of its range.
    """
    content = {"format": FORMAT, "version": VERSION, "digest": index.digest, **asdict(index)}
    encoded = json.dumps(content, separators=(",", ":")).encode()
    parse_json(encoded, Index, f"{store.url}/{INDEX_KEY}", LARGEST_JSON)
    store.put(INDEX_KEY, encoded)


@dataclass(frozen=True)
class _Stamp:
    """What an index says of itself."""

    format: Name
    version: int
    digest: str = ""


def _missing(store: Store) -> str:
    """Say what is there in place of a set, and which command makes one of it."""
    with suppress(DataError):
        keys = store.keys()
        if any(key.startswith("packing/") for key in keys):
            return "an unfinished packing is there: repeat its command, which goes on"
        if any(key.endswith(".tar") for key in keys):
            return "tars without an index are there: `unbraid data index` makes a set of them"
    return f"a packed data set was expected at {store.url}; `unbraid data pack` makes one; was it moved? Name its new place"


def read_index(store: Store) -> Index:
    """Read and check ``index.json``.

    Raises:
        DataError: when the index is missing, has another version or a value that no index has, or does not agree with its own
            digest.
    """
    where = f"{store.url}/{INDEX_KEY}"
    try:
        raw = store.get(INDEX_KEY, LARGEST_JSON)
    except AbsentError as error:
        raise AbsentError(f"{error}\n({_missing(store)})") from error
    try:
        stamp = parse_json(raw, _Stamp, where, LARGEST_JSON)
    except DataError as error:
        raise DataError(f"{error}: not an index of packed shards; `unbraid data pack` makes one") from None
    if stamp.format != FORMAT:
        raise DataError(f"{where}: not an index of packed shards; `unbraid data pack` makes one")
    if stamp.version != VERSION:
        raise DataError(
            f"{where}: has version {stamp.version}, this unbraid reads version {VERSION}; "
            f"{MAKE_AGAIN} with this unbraid, or use the one that made it"
        )
    try:
        index = parse_json(raw, Index, where, LARGEST_JSON)
    except DataError as error:
        raise DataError(f"{error}; {MAKE_AGAIN}") from None
    if stamp.digest != index.digest:
        raise DataError(f"{where}: was changed after packing (its digest differs); {MAKE_AGAIN}")
    return index
