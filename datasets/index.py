"""``index.json``: what a packed data set holds, exactly enough to read any sample with one ranged GET."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from datasets.errors import DataError
from datasets.store import Store

INDEX_KEY = "index.json"
FORMAT = "unbraid-shards"
VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One tar.

    Attributes:
        name: its key under the set's URL.
        bytes: size of the tar.
        sha256: of the whole tar, hex.
        offsets: first byte of each sample's first header; sample i ends where i + 1 begins.
        end: first byte after the last sample, where the tar's trailer begins.
        crc32: of each sample's stretch of the tar, so that every ranged read can be checked.
    """

    name: str
    bytes: int
    sha256: str
    offsets: tuple[int, ...]
    end: int
    crc32: tuple[int, ...]

    @property
    def count(self) -> int:
        """Samples in it."""
        return len(self.offsets)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Start and length in bytes of samples ``first`` to ``last``, exclusive."""
        start = self.offsets[first]
        stop = self.offsets[last] if last < self.count else self.end
        return start, stop - start


@dataclass(frozen=True)
class Index:
    """A packed data set.

    Attributes:
        name: of the set.
        image: (channels, height, width), or None where sizes differ.
        classes: names of the labels; empty without labels.
        licence, source: where it comes from and what may be done with it.
        splits: shards of each split, in order.
    """

    name: str
    image: tuple[int, int, int] | None
    classes: tuple[str, ...]
    licence: str
    source: str
    splits: Mapping[str, tuple[Shard, ...]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hex digest of every sample's bytes and of the order, names and sizes of shards."""
        content = {split: [(s.name, s.sha256, s.count) for s in shards] for split, shards in sorted(self.splits.items())}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Shards of a split.

        Raises:
            DataError: when there is no such split, or nothing in it.
        """
        if not self.splits.get(split):
            there = ", ".join(name for name, shards in self.splits.items() if shards)
            raise DataError(f"{self.name}: no samples in split {split!r}; there is {there or 'nothing'}")
        return self.splits[split]


def write_index(store: Store, index: Index) -> None:
    """Write ``index.json``. Last of all: a set without it is not there yet."""
    content = {"format": FORMAT, "version": VERSION, "digest": index.digest, **asdict(index)}
    store.put(INDEX_KEY, json.dumps(content, separators=(",", ":")).encode())


def read_index(store: Store) -> Index:
    """Read and check ``index.json``.

    Raises:
        DataError: when it is missing, of another version, or does not agree with its own digest.
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
            image=tuple(content["image"]) if content["image"] else None,
            classes=tuple(content["classes"]),
            licence=content["licence"],
            source=content["source"],
            splits={split: tuple(_shard(s) for s in shards) for split, shards in content["splits"].items()},
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: field {error} is missing or of another type; pack the set again") from None
    if content.get("digest") != index.digest:
        raise DataError(f"{where}: was changed after packing (its digest differs); pack the set again")
    return index


def _shard(content: Mapping[str, Any]) -> Shard:
    shard = Shard(
        content["name"],
        content["bytes"],
        content["sha256"],
        tuple(content["offsets"]),
        content["end"],
        tuple(content["crc32"]),
    )
    if len(shard.offsets) != len(shard.crc32):
        raise TypeError("'crc32'")
    return shard
