"""The place of a set while it is packed: claimed by one packing, without an index until all shards are written and verified."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import INDEX_KEY, Index, PackedFrom, Shard, read_index, write_index
from unbraid.datasets.shards.readers import readers_of
from unbraid.datasets.store import Store, discard
from unbraid.datasets.store.lease import Lease
from unbraid.datasets.untrusted.documents import Sha256, Text, parse_json
from unbraid.datasets.untrusted.keys import Key

MARKERS = "packing"
"""Prefix of the records of a packing; they are removed when the index is written."""
OWN = f"{MARKERS}/own.json"
_OWN_TAR = re.compile(r"[^/]+-\d{6}\.tar")


class Record(Protocol):
    """The record of a finished shard."""

    @property
    def items(self) -> str:
        """Hex digest of what it was made from."""
        ...

    @property
    def shard(self) -> Shard:
        """Its entry in the index."""
        ...


Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class Finished:
    """The record of a shard that was packed.

    Attributes:
        items: the digest of what it was made from.
        shard: its entry in the index.
        skipped: the reasons for samples that were skipped.
    """

    items: Sha256
    shard: Shard
    skipped: list[Text]


@dataclass(frozen=True)
class _Own:
    """The tars that packings have written, or are about to; they are removed where the new set has none of their name."""

    names: list[Key]


class Place:
    """Where a set is packed.

    Args:
        store: of the set.
        folder: prefix of the records of what is being done there.
    """

    def __init__(self, store: Store, folder: str = MARKERS) -> None:
        self.store = store
        self.folder = folder

    @contextmanager
    def claimed(self) -> Iterator[Lease]:
        """Keep other packings out while the block runs.

        Raises:
            DataError: when another packing has the place; it is named.
        """
        busy = f"{self.store.url} is being packed by {{holder}}: wait until it has ended, or pack to another place"
        with Lease.acquire(self.store, busy, folder=f"{self.folder}/lease", keep=False) as lease:
            yield lease

    def packed(self, origin: PackedFrom) -> Index | None:
        """Return the set that is packed here from the same files with the same options; None where there is no set.

        Raises:
            DataError: when the set that is packed here is another one; the message says what differs.
        """
        if not self.store.exists(INDEX_KEY):
            return None
        index = read_index(self.store)
        if not index.owns_tars and self.folder == MARKERS:
            raise DataError(
                f"{self.store.url}: has an index of tars that were there already, {index.name}; pack to another place, or "
                f"delete its {INDEX_KEY} first"
            )
        differences = _differences(index.packed_from, origin)
        if differences:
            found = "".join(f"\n  {line}" for line in differences)
            raise DataError(
                f"{self.store.url}: another set is packed there, {index.name} (digest {index.digest[:12]}):{found}\n"
                "--force packs over it; runs that have begun with it cannot go on then. Or pack to another place"
            )
        return index

    def begin(self, names: Collection[str]) -> None:
        """Prepare for writing shards of these names: a set that is here is none any more, its shards are replaced.

        Raises:
            DataError: when there are tars that no packing of this program has written, or a run reads the set that is here.
        """
        keys = self.store.keys()
        own = self._own_names(keys)
        foreign = sorted(key for key in keys if key.endswith(".tar") and key not in own)
        if foreign:
            raise DataError(
                f"{self.store.url}: holds {len(foreign):,} tars that are no part of this set, such as {foreign[0]}: readers "
                "would take them for a part of it; pack to an empty place, or move them away"
            )
        self.require_unread()
        self.store.put(OWN, json.dumps(asdict(_Own(sorted(own | set(names))))).encode())
        if INDEX_KEY in keys:
            self.store.delete(INDEX_KEY)  # before anything changes: half a set is none

    def require_unread(self) -> None:
        """Check that no run or campaign reads the set that is here, as far as they could say so.

        Raises:
            DataError: naming one that does.
        """
        readers = readers_of(self.store) if self.store.exists(INDEX_KEY) else []
        if readers:
            more = f" and {len(readers) - 1} others" if len(readers) > 1 else ""
            raise DataError(
                f"{self.store.url}: is being read by {readers[0]}{more}: what they train on would change under them; stop "
                "them, or choose another place"
            )

    def finished(self, name: str, items: str, kind: type[Kind]) -> Kind | None:
        """Return the record of a shard that was finished before, from the same items."""
        key = f"{self.folder}/{name}.json"
        if not self.store.exists(key):
            return None
        record = parse_json(self.store.get(key), kind, f"{self.store.url}/{key}")
        return record if record.items == items else None

    def keep(self, record: Record) -> None:
        """Keep the record of a finished shard."""
        content = json.dumps(asdict(record))  # type: ignore[call-overload]  # every record is a dataclass
        self.store.put(f"{self.folder}/{record.shard.name}.json", content.encode())

    def finish(self, index: Index) -> None:
        """Verify all that was written, remove what it replaces, and write the index.

        Raises:
            DataError: naming an object that is not stored as it was written.
        """
        shards = [shard for of_split in index.splits.values() for shard in of_split]
        self._require_stored(shards)
        kept = {shard.name for shard in shards}
        replaced = sorted(self._own_names(self.store.keys()) - kept)
        for name in replaced:
            self.store.delete(name)  # refused, there must be no set: readers would take these for a part of it
        discard(self.store, [name.removesuffix(".tar") + ".npy" for name in replaced])
        write_index(self.store, index)
        self.tidy()

    def tidy(self) -> None:
        """Delete the records: the index is written."""
        discard(self.store, [key for key in self.store.keys(f"{self.folder}/") if not key.startswith(f"{self.folder}/lease/")])

    def _require_stored(self, shards: Iterable[Shard]) -> None:
        """Check that the store has every shard and table in its full size, by listing what it has.

        Raises:
            DataError: naming an object that is missing or has another size.
        """
        found = self.store.sizes()
        for shard in shards:
            if found.get(shard.name) != shard.bytes or not found.get(shard.table_key):
                size = found.get(shard.name)
                self.store.delete(f"{MARKERS}/{shard.name}.json")  # so that it is written again
                raise DataError(
                    f"{self.store.url}/{shard.name}: was written with {shard.bytes:,} bytes, and "
                    f"{'is not there' if size is None else f'has {size:,}'} now: does something else write or delete there? "
                    "Repeat the command: it writes what is missing"
                )

    def _own_names(self, keys: Iterable[str]) -> set[str]:
        """Return the tars here that packings of this program have written: those that an index or their records name."""
        keys = set(keys)
        own = {
            key.removeprefix(f"{MARKERS}/").removesuffix(".json")
            for key in keys
            if key.startswith(f"{MARKERS}/") and key.endswith(".tar.json")
        }
        if OWN in keys:
            own |= set(parse_json(self.store.get(OWN), _Own, f"{self.store.url}/{OWN}").names)
        if INDEX_KEY in keys:
            try:
                index = read_index(self.store)
                if index.owns_tars:
                    own |= {shard.name for shards in index.splits.values() for shard in shards}
            except DataError:  # of another version, or damaged: what looks like a shard and has a table was one
                own |= {key for key in keys if _OWN_TAR.fullmatch(key) and key.removesuffix(".tar") + ".npy" in keys}
        return own & keys


def _differences(packed: PackedFrom | None, origin: PackedFrom) -> list[str]:
    """Say in what the origins of two sets differ; empty when they give the same set."""
    if packed is None:
        return ["it was not packed from raw files"]
    if packed.items == origin.items:
        return []
    lines = [] if packed.source == origin.source else [f"from {packed.source}, not from {origin.source}"]
    lines += [
        f"--{name.replace('_', '-')}: {packed.options.get(name, 'not given')}, now {origin.options.get(name, 'not given')}"
        for name in sorted({*packed.options, *origin.options})
        if packed.options.get(name) != origin.options.get(name)
    ]
    return lines or ["the raw files have other names, sizes or times"]


def options_as_text(options: Mapping[str, object]) -> dict[str, str]:
    """Write the options of a command for the index; those without a value are left out."""
    return {name: _as_text(value) for name, value in options.items() if value not in (None, (), False)}


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ("x" if all(isinstance(part, int) for part in value) else ", ").join(map(str, value))
    return str(value)
