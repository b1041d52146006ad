"""Reads and writes ``index.json``, which describes a packed set, its shards and their tables."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store

INDEX_KEY = "index.json"
FORMAT = "unbraid-shards"
VERSION = 2

FieldKind = Literal["image", "integer", "array"]


@dataclass(frozen=True)
class Field:
    """Describes one field of a batch, and the member of each sample that holds it.

    Attributes:
        kind: ``image`` is JPEG or PNG → uint8 (C, H, W); ``integer`` is decimal text → int64; ``array`` is a
            ``.npy`` file → float32 of ``shape``.
        members: extensions under which a sample may hold it, such as ``("jpg", "png")``; a sample holds one of them.
        shape: of one decoded value; None for images of several sizes, of which no batch can be made.
    """

    kind: FieldKind
    members: tuple[str, ...]
    shape: tuple[int, ...] | None = ()


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

    name: str
    bytes: int
    sha256: str
    count: int
    table_sha256: str

    @property
    def table_key(self) -> str:
        """Key of the table."""
        return self.name.removesuffix(".tar") + ".npy"


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
    """

    name: str
    fields: Mapping[str, Field]
    classes: tuple[str, ...]
    licence: str
    source: str
    splits: Mapping[str, tuple[Shard, ...]] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    recipe: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hex digest of every sample's bytes, and of the order, names and sizes of shards."""
        content = {split: [(s.name, s.sha256, s.count) for s in shards] for split, shards in sorted(self.splits.items())}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def image_shapes(self) -> dict[str, tuple[int, ...] | None]:
        """(C, H, W) of each image field."""
        return {name: f.shape for name, f in self.fields.items() if f.kind == "image"}

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split.

        Raises:
            DataError: when there is no such split, or it is empty.
        """
        if not self.splits.get(split):
            filled = ", ".join(name for name, shards in self.splits.items() if shards)
            raise DataError(f"{self.name}: no samples in split {split!r}; its splits are: {filled or 'none'}")
        return self.splits[split]


def write_index(store: Store, index: Index) -> None:
    """Write ``index.json``. It is written last, so that an incomplete set has none."""
    content = {"format": FORMAT, "version": VERSION, "digest": index.digest, **asdict(index)}
    store.put(INDEX_KEY, json.dumps(content, separators=(",", ":")).encode())


def read_index(store: Store) -> Index:
    """Read and check ``index.json``.

    Raises:
        DataError: when the index is missing, has another version, or does not agree with its own digest.
    """
    where = f"{store.url}/{INDEX_KEY}"
    try:
        raw = store.get(INDEX_KEY)
    except DataError as error:
        raise DataError(f"{error}\n(a packed data set was expected at {store.url}; `unbraid data pack` makes one)") from error
    try:
        content: dict[str, Any] = json.loads(raw)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); pack the set again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{where}: not an index of packed shards; `unbraid data pack` makes one")
    if content.get("version") != VERSION:
        raise DataError(
            f"{where}: has version {content.get('version')!r}, this unbraid reads version {VERSION}; "
            "pack the set again with this unbraid, or use the one that packed it"
        )
    try:
        index = Index(
            name=content["name"],
            fields={name: _field(f) for name, f in content["fields"].items()},
            classes=tuple(content["classes"]),
            licence=content["licence"],
            source=content["source"],
            splits={split: tuple(_shard(s) for s in shards) for split, shards in content["splits"].items()},
            attributes=tuple(content["attributes"]),
            recipe=content.get("recipe", {}),
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: field {error} is missing or of another type; pack the set again") from None
    if content.get("digest") != index.digest:
        raise DataError(f"{where}: was changed after packing (its digest differs); pack the set again")
    return index


def _field(content: Mapping[str, Any]) -> Field:
    shape = content["shape"]
    return Field(content["kind"], tuple(content["members"]), None if shape is None else tuple(shape))


def _shard(content: Mapping[str, Any]) -> Shard:
    return Shard(content["name"], content["bytes"], content["sha256"], content["count"], content["table_sha256"])
