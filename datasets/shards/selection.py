"""Reads a few samples from everywhere in a set, and chooses those that show its classes and splits, within bounds of bytes."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import TypeVar

import numpy as np

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.codec import decode_integer, number_reader
from unbraid.datasets.shards.index import Index, Shard
from unbraid.datasets.shards.table import ABSENT, Table, read_table, table_bytes
from unbraid.datasets.shards.tar import parse_sample
from unbraid.datasets.store import Store

MOST_SHARDS = 160
"""Shards that are read from, over all splits: each needs its table."""
MOST_READS = 256
SAMPLES_A_READ, BYTES_A_READ = 32, 512 << 10
"""Neighbours that are read together: as many as stay within both. A larger sample is read alone."""
LARGEST_SAMPLE = 32 << 20
MOST_BYTES = 128 << 20
"""Bytes of samples, and of tables, that are read in all."""
AT_A_TIME = 8
"""Simultaneous requests."""

T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """One sample of a set, still encoded.

    Attributes:
        split, shard, number: where it is; ``number`` counts within the shard.
        members: the content of each field by name, words as their numbers; None where the sample has none.
        whole: whether its checksum is that of the table.
        tar: its bytes in the tar, with headers.
    """

    split: str
    shard: str
    number: int
    members: dict[str, memoryview | None]
    whole: bool
    tar: memoryview

    @property
    def key(self) -> str:
        """Key of the sample; shard and number where its tar headers cannot be read."""
        try:
            return parse_sample(self.tar)["__key__"].decode(errors="replace")
        except ValueError:
            return f"{self.shard}:{self.number}"

    def integer(self, field: str | None) -> int | None:
        """Return the value of an integer field; None where there is none, or none that can be read."""
        content = self.members.get(field) if field is not None else None
        try:
            return None if content is None else decode_integer(content)
        except ValueError:
            return None


@dataclass(frozen=True)
class _Read:
    split: str
    shard: Shard
    table: Table
    first: int
    last: int

    @property
    def bytes(self) -> int:
        return self.table.span(self.first, self.last)[1]


def class_field(index: Index) -> str | None:
    """Return the integer field that says what a sample shows: ``label``, else the first one; None without any."""
    integers = [name for name, field in index.fields.items() if field.kind == "integer"]
    return "label" if "label" in integers else next(iter(integers), None)


def class_name(index: Index, field: str, value: int | None) -> str:
    """Return the name of a class, or the field and the number where it has no name."""
    if value is None:
        return f"no {field}"
    return index.classes[value] if field == "label" and 0 <= value < len(index.classes) else f"{field} {value}"


@dataclass(frozen=True)
class Surroundings:
    """What was read of a set to look at it: samples, and why others could not be read."""

    looks: list[Look]
    problems: list[str]


def look_around(store: Store, index: Index) -> Surroundings:
    """Read samples from places that are spread evenly over all splits, and over the shards of each.

    No shard is read whole unless it is small: there are at most ``MOST_READS`` ranged reads of ``MOST_BYTES`` in all.
    """
    problems: list[str] = []
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="look") as pool:
        planned = [
            _planned(store, index, split, pool, problems)
            for split, shards in index.splits.items()
            if any(s.count for s in shards)
        ]
        chosen: list[_Read] = []
        size = 0
        for read in _alternating(planned):  # of every split the same share, should the bytes not suffice
            size += read.bytes
            if size > MOST_BYTES:
                break
            chosen.append(read)
        looks = [look for found in pool.map(lambda read: _looks(store, index, read, problems), chosen) for look in found]
    return Surroundings(looks, problems)


def choose(looks: Sequence[Look], field: str | None, count: int) -> list[Look]:
    """Choose at most ``count`` samples: one of every class, then another of every class, and so on; from all splits by turns.

    Where there are more classes than ``count``, classes are left out evenly.

    Args:
        field: that holds the class.

    Returns:
        The samples, by class, split and place.
    """
    groups: dict[int | None, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    splits = list(dict.fromkeys(look.split for look in looks))
    for place, look in enumerate(looks):
        groups[look.integer(field)][look.split].append(place)
    values = sorted(groups, key=lambda value: (value is None, value or 0))
    kept = [values[i] for i in evenly(len(values), count)]
    queues = []
    for number, value in enumerate(kept):
        first = number % len(splits)
        by_turns = [groups[value][split] for split in splits[first:] + splits[:first]]
        queues.append([(number, place) for place in _alternating(by_turns)])
    chosen = sorted(islice(_alternating(queues), count), key=lambda c: (c[0], splits.index(looks[c[1]].split), c[1]))
    return [looks[place] for _, place in chosen]


def evenly(length: int, count: int) -> list[int]:
    """Return at most ``count`` different places of a sequence, spread over all of it, ascending."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(np.int64)).tolist() if length else []


def _planned(store: Store, index: Index, split: str, pool: Executor, problems: list[str]) -> list[_Read]:
    """Plan the reads of one split, in an order that is spread over it too, so that it may end anywhere."""
    share, fields = len(index.splits), len(index.fields)
    filled = [shard for shard in index.splits[split] if shard.count]
    shards = [filled[i] for i in evenly(len(filled), max(1, MOST_SHARDS // share))]
    sizes = accumulate(table_bytes(shard, fields) for shard in shards)
    shards = [shard for shard, size in zip(shards, sizes, strict=True) if size <= MOST_BYTES // share]
    tables = pool.map(lambda shard: _table_or_none(store, shard, fields, problems), shards)
    reads: list[_Read] = []
    for shard, table in zip(shards, tables, strict=True):
        if table is not None:
            reads += _planned_of_shard(split, shard, table, max(1, MOST_READS // share // len(shards)))
    if not reads:
        problems.append(f"{store.url}: no samples of {split} are small enough to be looked at, or none can be read")
    return [reads[i] for i in np.random.default_rng(0).permutation(len(reads)).tolist()]


def _table_or_none(store: Store, shard: Shard, fields: int, problems: list[str]) -> Table | None:
    try:
        return read_table(store, shard, fields)
    except DataError as error:
        problems.append(str(error))
        return None


def _planned_of_shard(split: str, shard: Shard, table: Table, count: int) -> list[_Read]:
    mean = max(int(table.sizes.mean()), 1)
    together = min(max(BYTES_A_READ // mean, 1), SAMPLES_A_READ)
    runs = -(-shard.count // together)
    reads = []
    for run in evenly(runs, count):
        read = _Read(split, shard, table, run * together, min((run + 1) * together, shard.count))
        while read.last - read.first > 1 and read.bytes > 2 * BYTES_A_READ:  # these samples are larger than the mean
            read = replace(read, last=read.first + (read.last - read.first) // 2)
        if read.bytes <= LARGEST_SAMPLE:
            reads.append(read)
    return reads


def _looks(store: Store, index: Index, read: _Read, problems: list[str]) -> list[Look]:
    """Read and divide neighbouring samples; of those that cannot be read, note why."""
    start, length = read.table.span(read.first, read.last)
    try:
        content = store.get_range(read.shard.name, start, length)
    except DataError as error:
        problems.append(str(error))
        return []
    whole = read.table.whole(content, read.first, read.last)
    readers = {name: number_reader(field.words) for name, field in index.fields.items() if field.words}
    looks = []
    for number in range(read.first, read.last):
        begin = int(read.table.offsets[number]) - start
        tar = content[begin : begin + int(read.table.sizes[number])]
        members = {
            name: None if size == ABSENT else tar[offset : offset + size]
            for name, (offset, size) in zip(index.fields, read.table.members[number].tolist(), strict=True)
        }
        for name, reader in readers.items():
            members[name] = _as_number(members[name], reader)
        looks.append(Look(read.split, read.shard.name, number, members, bool(whole[number - read.first]), tar))
    return looks


def _as_number(content: memoryview | None, reader: Callable[[memoryview], int]) -> memoryview | None:
    """Write the number that a word stands for; what is no known word stays."""
    try:
        return None if content is None else memoryview(b"%d" % reader(content))
    except ValueError:
        return content


def _alternating(queues: Sequence[Sequence[T]]) -> Iterator[T]:
    """Yield the first of each sequence, then the second of each that has one, and so on."""
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))
