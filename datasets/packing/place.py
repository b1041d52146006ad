"""The place of a set while it is packed: claimed by one packing, without an index until all shards are written and verified."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import INDEX_KEY, Index, PackedFrom, Shard, read_index, write_index
from unbraid.datasets.store import Store, discard
from unbraid.datasets.store.lease import Lease
from unbraid.datasets.untrusted.documents import Sha256, Text, parse_json
from unbraid.datasets.untrusted.keys import Key

MARKERS = "packing"
"""Prefix of the records of a packing; they are removed when the index is written."""
REPLACED = f"{MARKERS}/replaced.json"
_OWN_TAR = re.compile(r"[^/]+-\d{6}\.tar")


@dataclass(frozen=True)
class Finished:
    """The record of a finished shard.

    Attributes:
        items: the digest of what it was made from.
        shard: its entry in the index.
        skipped: the reasons for samples that were skipped.
    """

    items: Sha256
    shard: Shard
    skipped: list[Text]


@dataclass(frozen=True)
class _Replaced:
    """The shards of the set that is being packed again; they are removed where the new set has none of their name."""

    names: list[Key]


class Place:
    """Where a set is packed.

    Args:
        store: of the set.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @contextmanager
    def claimed(self) -> Iterator[Lease]:
        """Keep other packings out while the block runs.

        Raises:
            DataError: when another packing has the place; it is named.
        """
        busy = f"{self.store.url} is being packed by {{holder}}: wait until it has ended, or pack to another place"
        with Lease.acquire(self.store, busy, folder=f"{MARKERS}/lease", keep=False) as lease:
            yield lease

    def packed(self, origin: PackedFrom) -> Index | None:
        """Return the set that is packed here from the same files with the same options; None where there is no set.

        Raises:
            DataError: when the set that is packed here is another one; the message says what differs.
        """
        if not self.store.exists(INDEX_KEY):
            return None
        index = read_index(self.store)
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
            DataError: when there are tars that no packing of this program has written.
        """
        keys = self.store.keys()
        replaced = self._own_names(keys)
        foreign = sorted(key for key in keys if key.endswith(".tar") and key not in replaced and key not in names)
        if foreign:
            raise DataError(
                f"{self.store.url}: holds {len(foreign):,} tars that are no part of this set, such as {foreign[0]}: readers "
                "would take them for a part of it; pack to an empty place, or move them away"
            )
        if INDEX_KEY in keys:
            self.store.put(REPLACED, json.dumps(asdict(_Replaced(sorted(replaced)))).encode())
            self.store.delete(INDEX_KEY)  # before anything changes: half a set is none

    def finished(self, name: str, items: str) -> Finished | None:
        """Return the record of a shard that was finished before, from the same items."""
        key = f"{MARKERS}/{name}.json"
        if not self.store.exists(key):
            return None
        record = parse_json(self.store.get(key), Finished, f"{self.store.url}/{key}")
        return record if record.items == items else None

    def finish_shard(self, record: Finished) -> None:
        """Keep the record of a finished shard."""
        self.store.put(f"{MARKERS}/{record.shard.name}.json", json.dumps(asdict(record)).encode())

    def finish(self, index: Index) -> None:
        """Verify all that was written, remove what it replaces, and write the index.

        Raises:
            DataError: naming an object that is not stored as it was written.
        """
        shards = [shard for of_split in index.splits.values() for shard in of_split]
        self._require_stored(shards)
        kept = {shard.name for shard in shards}
        for name in sorted(self._own_names(self.store.keys()) - kept):
            self.store.delete(name)
            self.store.delete(name.removesuffix(".tar") + ".npy")
        write_index(self.store, index)
        records = [key for key in self.store.keys(f"{MARKERS}/") if not key.startswith(f"{MARKERS}/lease/")]
        discard(self.store, records)

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
        if REPLACED in keys:
            own |= set(parse_json(self.store.get(REPLACED), _Replaced, f"{self.store.url}/{REPLACED}").names)
        if INDEX_KEY in keys:
            try:
                own |= {shard.name for shards in read_index(self.store).splits.values() for shard in shards}
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
