"""Indexes one tar: reads it once, makes its table, and keeps what its values were as a record."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field as Bounded

from unbraid.datasets.errors import DataError
from unbraid.datasets.indexing.tars import Tar
from unbraid.datasets.indexing.values import UnreadableError, Values
from unbraid.datasets.indexing.wanted import Wanted
from unbraid.datasets.shards.index import Field, Shard
from unbraid.datasets.shards.table import make_table
from unbraid.datasets.shards.walk import LARGEST_SAMPLE, TarError, TarSample, walk
from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import Count, Name, Sha256, Text

BLOCK_BYTES = 8 << 20
"""Bytes of one read."""


@dataclass(frozen=True)
class ShapeSeen:
    """A shape of a field's values, how many have it, and the key of one sample."""

    shape: Annotated[tuple[int, ...], Bounded(max_length=8)]
    count: Count
    example: Text


@dataclass(frozen=True)
class FieldSeen:
    """What the values of a field were in one tar, see :class:`unbraid.datasets.indexing.values.Seen`."""

    shapes: list[ShapeSeen]
    words: dict[Text, Count]
    is_plain: bool


@dataclass(frozen=True)
class IndexedTar:
    """The record of a tar that was indexed.

    Attributes:
        items: digest of what decides its table: the tar's name and size, and the wanted fields.
        shard: its entry in the index.
        seen: what the values of each field were.
        left_out: samples that lack a field, by reason; ``examples`` has the key of one.
        unreadable: why each unreadable sample is left out.
    """

    items: Sha256
    shard: Shard
    seen: dict[Name, FieldSeen]
    left_out: dict[Text, Count]
    examples: dict[Text, Text]
    unreadable: list[Text]


def index_tar(
    store: Store, tar: Tar, wanted: Sequence[Wanted], items: str, *, decode: bool, max_skipped: int, reads: Executor
) -> tuple[IndexedTar, bytes]:
    """Read a tar once.

    Args:
        items: for the record.
        decode: whether every image is decoded, not its header alone.
        max_skipped: number of unreadable samples that are not yet an error.
        reads: reads one block ahead.

    Returns:
        The record, and the encoded table.

    Raises:
        DataError: naming the tar, when it is damaged or more samples are unreadable.
    """
    where = f"{store.url}/{tar.name}"
    values = Values(list(wanted), decode)
    unreadable: list[str] = []
    blocks = _HashedBlocks(_blocks(store, tar, reads))
    columns = {want.name: Field("integer", (want.name,)) for want in wanted}  # a table knows places only
    try:
        table = make_table(_kept(walk(blocks), values, where, unreadable, max_skipped), columns)
    except TarError as error:
        raise DataError(f"{where}: {error}") from None
    encoded = table.encoded()
    table_sha256 = hashlib.sha256(encoded).hexdigest()
    shard = Shard(tar.name, tar.bytes, blocks.sha256_of_all(), len(table.offsets), table_sha256)
    seen = {
        name: FieldSeen(
            [ShapeSeen(shape, count, example) for shape, (count, example) in found.shapes.items()],
            dict(found.words),
            found.is_plain,
        )
        for name, found in values.seen.items()
    }
    left_out = dict(values.left_out.counts)
    examples = {kind: values.left_out.example(kind) for kind in left_out}
    return IndexedTar(items, shard, seen, left_out, examples, unreadable), encoded


def _kept(
    samples: Iterator[TarSample], values: Values, where: str, unreadable: list[str], max_skipped: int
) -> Iterator[TarSample]:
    """Yield the samples that have all fields, members by field; the bytes of the others count to the sample before.

    Raises:
        DataError: when more samples are unreadable than may be, or too many bytes are left out in a row.
    """
    last: TarSample | None = None
    left_out: list[bytes] = []  # after the last sample that is kept
    size = 0
    for sample in samples:
        try:
            places = values.places(sample)
        except UnreadableError as error:
            unreadable.append(f"{where}: {error}")
            if len(unreadable) > max_skipped:
                raise DataError(f"{unreadable[-1]}; repair the tar, or leave such samples out with --max-skipped") from None
            places = None
        if places is None:
            if last is None:
                continue  # a table begins with the first sample that is kept
            left_out.append(sample.content)
            size += len(sample.content)
            if size > LARGEST_SAMPLE:
                raise DataError(
                    f"{where}: {size:,} bytes of samples that lack a field follow {last.key}; take them out of the tar"
                )
            continue
        if last is not None:
            last.content = b"".join([last.content, *left_out])
            yield last
        last, left_out, size = TarSample(sample.key, sample.offset, places, sample.content), [], 0
    if last is not None:
        last.content = b"".join([last.content, *left_out])
        yield last


class _HashedBlocks:
    """Passes blocks on and hashes them."""

    def __init__(self, blocks: Iterator[memoryview]) -> None:
        self._blocks = blocks
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[memoryview]:
        for block in self._blocks:
            self._hash.update(block)
            yield block

    def sha256_of_all(self) -> str:
        """Return the hex digest of all blocks, those after the last sample too."""
        for _ in self:
            pass
        return self._hash.hexdigest()


def _blocks(store: Store, tar: Tar, reads: Executor) -> Iterator[memoryview]:
    """Yield the bytes of a tar, one block ahead of their use."""
    starts = range(0, tar.bytes, BLOCK_BYTES)
    ahead: Future[memoryview] | None = None
    for start in starts:
        now = ahead if ahead is not None else _read(store, tar, start, reads)
        ahead = _read(store, tar, start + BLOCK_BYTES, reads) if start + BLOCK_BYTES < tar.bytes else None
        yield now.result()


def _read(store: Store, tar: Tar, start: int, reads: Executor) -> Future[memoryview]:
    return reads.submit(store.get_range, tar.name, start, min(BLOCK_BYTES, tar.bytes - start))
