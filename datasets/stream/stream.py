"""Streams one rank's share of an endless, reproducible sequence of batches; reads a split once, in packed order."""

import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Self

from torch import Tensor

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.elsewhere import open_set
from unbraid.datasets.shards.index import MAKE_AGAIN, Index
from unbraid.datasets.store import Store
from unbraid.datasets.store.retry import default_backoff
from unbraid.datasets.stream.cache import ShardCache
from unbraid.datasets.stream.decode import Arrays, BatchDecoder
from unbraid.datasets.stream.order import Order, batch_stretches, in_packed_order, rank_lanes
from unbraid.datasets.stream.read import Fetched, Fetcher, ShardReader
from unbraid.datasets.threads import WatchedThread

READ_THREADS = min(8, max(2, os.cpu_count() or 2))
"""Two hide the latency of a request; more than there are cores would only contend with decoding for the interpreter lock."""
MOST_BATCHES = 16
"""Upper bound of the batches decoded ahead: more do not shorten any wait, and are lost when the stream is closed."""
DECODE_TOGETHER = 32
"""Number of samples that a thread decodes as one piece of work."""


@dataclass(frozen=True)
class Position:
    """How far the global sequence of batches has been consumed: the same on every rank, for any number of ranks."""

    epoch: int = 0
    batch: int = 0

    def after(self, order: Order) -> "Position":
        """Return the position one global batch later."""
        if self.batch + 1 < order.batches:
            return Position(self.epoch, self.batch + 1)
        return Position(self.epoch + 1, 0)


@dataclass
class StreamStatistics:
    """Counts what a stream has yielded; its store counts what was transferred.

    Attributes:
        wait_seconds: time for which the consumer waited for data.
        samples: number of samples yielded.
        skipped: samples among them that could not be used and were replaced by a neighbour.
    """

    wait_seconds: float = 0.0
    samples: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class _Piece:
    """Samples ``first`` to ``last`` (exclusive) of one block, for the rows of a batch from ``row`` on."""

    fetched: Fetched
    first: int
    last: int
    row: int


@dataclass(frozen=True)
class _Pending:
    """A batch whose samples are being decoded; each future returns the reasons for rows that could not be used."""

    arrays: Arrays
    futures: list[Future[dict[int, str]]]


class SampleStream:
    """An endless iterator over this rank's share of the global batches.

    A batch holds one tensor for each field of the set: images uint8 (B, C, H, W), integers int64 (B,), arrays float32
    (B, …), on the CPU. Background threads read and decode; the batches do not depend on their number.

    Args:
        url, split: the packed set.
        batch: size of the *global* batch.
        lanes, window, seed: of the order, see :class:`unbraid.datasets.stream.order.Order`.
        rank, world_size: which share of each batch is yielded.
        prefetch_bytes: memory for encoded samples and for decoded batches, half of it each.
        decode_threads: default: the number of cores, two at least.
        max_skipped: number of unusable samples of this rank that are not yet an error. Each is replaced by a copy of a
            neighbour in the same lane and batch, so that batches stay equal for any number of ranks.
        cache: of the node, if there is one.
        position: where the sequence continues.
        retry_seconds: time for which requests to a server that does not answer are repeated.
        fit: (height, width) to which images of any size are resized; None takes images that have one size.

    Raises:
        DataError: when the set cannot be read, or its samples do not fill a batch.
    """

    def __init__(
        self,
        url: str,
        split: str,
        *,
        batch: int,
        lanes: int,
        window: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        prefetch_bytes: int = 256 << 20,
        decode_threads: int | None = None,
        max_skipped: int = 0,
        cache: ShardCache | None = None,
        position: Position | None = None,
        retry_seconds: float = 0.0,
        fit: tuple[int, int] | None = None,
    ) -> None:
        store, index = open_set(url, default_backoff(retry_seconds))
        self.store: Store = store
        self.index: Index = index
        self.cache = cache
        self.max_skipped = max_skipped
        self.statistics = StreamStatistics()
        self.position = position or Position()
        shards = self.index.shards(split)
        try:
            self.order = Order(tuple(s.count for s in shards), batch, lanes, window, seed)
            self._lanes = rank_lanes(lanes, rank, world_size)
            self._decoder = BatchDecoder(self.index.fields, fit)
        except ValueError as error:
            raise DataError(f"{url}: {error}") from None
        self._reader = ShardReader(self.store, shards, len(self.index.fields), cache, tables=2 * len(self._lanes))
        self._rows = batch // lanes * len(self._lanes)
        start = self.position
        self._fetcher = Fetcher(
            self._reader, self.order, self._lanes, start.epoch, start.batch, prefetch_bytes // 2, READ_THREADS
        )
        batch_bytes = sum(array.nbytes for array in self._decoder.allocate(1).values()) * self._rows
        ahead = min(max(2, prefetch_bytes // 2 // batch_bytes), MOST_BATCHES)
        self._ready: queue.Queue[_Pending | BaseException] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(decode_threads or max(2, os.cpu_count() or 2), thread_name_prefix="decode")
        self._assembler = WatchedThread(self._assemble, "assemble-batches")
        self._assembler.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Tensor]:
        started = time.perf_counter()
        pending = self._ready.get()
        if isinstance(pending, BaseException):
            self._ready.put(pending)  # every later call raises it too
            raise pending
        unusable: dict[int, str] = {}
        for future in pending.futures:
            unusable |= future.result()
        self.statistics.wait_seconds += time.perf_counter() - started
        if unusable:
            self._replace(unusable, pending.arrays)
        self.statistics.samples += self._rows
        self.position = self.position.after(self.order)
        return self._decoder.tensors(pending.arrays)

    def close(self) -> None:
        """Stop the background threads and drop the decoded batches. A read that hangs ends at its own timeout."""
        self._closed.set()
        self.store.close()
        while self._assembler.is_alive():
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._fetcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _assemble(self) -> None:
        """Assign the samples of this rank's lanes to batches, and hand the batches to the decoding threads."""
        try:
            for pieces in self._all_pieces():
                arrays = self._decoder.allocate(self._rows)
                work = [self._threads.submit(self._decode, part, arrays) for part in _shared_out(pieces)]
                if not self._offer(_Pending(arrays, work)):
                    return
        except Exception as error:  # the consumer raises it
            self._offer(error)

    def _all_pieces(self) -> Iterator[list[_Piece]]:
        """Yield the pieces of one batch after the other, from the starting position on, epoch after epoch."""
        epoch, first = self.position.epoch, self.position.batch
        while True:
            blocks: dict[int, tuple[Fetched, int]] = {}
            for _ in range(first, self.order.batches):
                pieces: list[_Piece] = []
                for lane in self._lanes:
                    self._take(lane, blocks, pieces)
                yield pieces
            for fetched, _ in blocks.values():
                self._fetcher.release(fetched)
            epoch, first = epoch + 1, 0

    def _take(self, lane: int, blocks: dict[int, tuple[Fetched, int]], pieces: list[_Piece]) -> None:
        """Append a lane's share of one batch to ``pieces``, from its current block and, where that ends, from the next."""
        wanted = self.order.per_lane
        while wanted:
            if lane not in blocks:
                fetched = self._fetcher.next_block(lane)
                blocks[lane] = (fetched, fetched.first)
            fetched, begin = blocks[lane]
            end = min(begin + wanted, len(fetched.block))
            pieces.append(_Piece(fetched, begin, end, sum(p.last - p.first for p in pieces)))
            wanted -= end - begin
            blocks[lane] = (fetched, end)
            if end == len(fetched.block):
                self._fetcher.release(fetched)
                del blocks[lane]

    def _decode(self, pieces: list[_Piece], arrays: Arrays) -> dict[int, str]:
        """Decode some pieces of a batch; return the reasons for rows that cannot be used."""
        unusable: dict[int, str] = {}
        for piece in pieces:
            block = piece.fetched.block
            for row, reason in self._decoder.decode(block, piece.first, piece.last, arrays, piece.row).items():
                shard, place = block.shards[piece.first + row - piece.row].tolist()
                unusable[row] = f"{self.store.url}/{self._reader.shards[shard].name}: sample {place}: {reason}"
        return unusable

    def _replace(self, unusable: dict[int, str], arrays: Arrays) -> None:
        """Replace each sample that cannot be used by its nearest neighbour in the same lane.

        Raises:
            DataError: when too many have been replaced, or a lane has no usable sample in this batch.
        """
        self.statistics.skipped += len(unusable)
        if self.statistics.skipped > self.max_skipped:
            reason = next(iter(unusable.values()))
            skipping = f", after {self.max_skipped} samples that were skipped" if self.max_skipped else ""
            raise DataError(
                f"{reason}{skipping}; `unbraid data inspect` lists what is damaged; {MAKE_AGAIN}, or allow for some damaged "
                "samples with data.max_skipped"
            )
        for row, reason in unusable.items():
            lane = row // self.order.per_lane
            mates = range(lane * self.order.per_lane, (lane + 1) * self.order.per_lane)
            good = [mate for mate in mates if mate not in unusable]
            if not good:
                raise DataError(f"{reason}; so are all others of its lane in this batch: pack the shard again")
            nearest = min(good, key=lambda mate: abs(mate - row))
            for array in arrays.values():
                array[row] = array[nearest]

    def _offer(self, item: _Pending | BaseException) -> bool:
        """Queue a batch or an error for the consumer; return False when the stream is closed."""
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def _shared_out(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Yield pieces in portions of ``DECODE_TOGETHER`` samples; larger pieces are cut."""
    portion: list[_Piece] = []
    size = 0
    for piece in pieces:
        begin = piece.first
        while begin < piece.last:
            end = min(piece.last, begin + DECODE_TOGETHER - size)
            portion.append(_Piece(piece.fetched, begin, end, piece.row + begin - piece.first))
            size += end - begin
            begin = end
            if size == DECODE_TOGETHER:
                yield portion
                portion, size = [], 0
    if portion:
        yield portion


def read_split(
    url: str,
    split: str,
    batch: int,
    limit: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    fit: tuple[int, int] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield a rank's batches of a split: every sample once over all ranks, in packed order; the last batch may be smaller.

    The split is cut into the same batches for any number of ranks; batch ``i`` belongs to rank ``i % world_size``. A rank
    reads only the bytes of its own batches.

    Args:
        batch: samples in a batch.
        limit: use only so many samples from the beginning of the split, counted over all ranks.
        rank, world_size: which of the batches are yielded.
        fit: (height, width) to which images of any size are resized; None takes images that have one size.

    Raises:
        DataError: naming shard and sample, when one cannot be used.
    """
    store, index = open_set(url)
    shards = index.shards(split)
    reader = ShardReader(store, shards, len(index.fields))
    try:
        decoder = BatchDecoder(index.fields, fit)
    except ValueError as error:
        raise DataError(f"{url}: {error}") from None
    for stretches in islice(batch_stretches([s.count for s in shards], batch, limit), rank, None, world_size):
        arrays = decoder.allocate(sum(s.last - s.first for s in stretches))
        row = 0
        for stretch in stretches:
            block = reader.read((stretch,), in_packed_order(stretch))
            for bad, reason in decoder.decode(block, 0, len(block), arrays, row).items():
                name = shards[stretch.shard].name
                raise DataError(f"{store.url}/{name}: sample {stretch.first + bad - row}: {reason}")
            row += len(block)
        yield decoder.tensors(arrays)
