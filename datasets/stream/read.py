"""Fetches the encoded samples of a rank's lanes ahead of their use, in order, within a budget of bytes."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.shards.index import Shard
from unbraid.datasets.shards.table import ABSENT, CHECKSUM_ATTEMPTS, Table, read_table
from unbraid.datasets.store import Store
from unbraid.datasets.stream.cache import ShardCache
from unbraid.datasets.stream.order import Order, Stretch

SMALLEST_READ, LARGEST_READ = 1 << 20, 8 << 20
"""Bounds, in bytes, of what is read by one request. A request of any size costs client and server a millisecond or more of
processor time each, so that successive windows are read together as far as the budget allows."""


@dataclass(frozen=True)
class Block:
    """Holds some successive samples of a lane, encoded, in the order in which the lane yields them.

    Attributes:
        contents: the stretches that were read.
        stretch: (N,) index of the stretch that holds each sample.
        members: (N, F, 2) int64: for each field, the offset of its content in the stretch, and its length or ``ABSENT``.
        shards: (N, 2): shard number and place in that shard, for messages.
        damaged: (N,) bool: whether the checksum differs even after reading again.
    """

    contents: list[memoryview]
    stretch: NDArray[np.int64]
    members: NDArray[np.int64]
    shards: NDArray[np.int64]
    damaged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.stretch)

    def encoded(self, first: int, last: int, field: int) -> Iterator[memoryview | None]:
        """Yield the encoded content of one field of samples ``first`` to ``last`` (exclusive); None where a sample has none."""
        members, stretches = self.members[first:last, field].tolist(), self.stretch[first:last].tolist()
        for (begin, length), stretch in zip(members, stretches, strict=True):
            yield None if length == ABSENT else self.contents[stretch][begin : begin + length]


class ShardReader:
    """Reads stretches of shards, through the node's cache if there is one, and checks them against the tables.

    Args:
        shards: of the split, by number.
        fields: number of fields of the set.
        tables: how many are kept in memory; twice the lanes, so that none is fetched twice while its shard is read. Lanes that
            read the same shard at the same time share its table.
    """

    def __init__(
        self, store: Store, shards: tuple[Shard, ...], fields: int, cache: ShardCache | None = None, tables: int = 8
    ) -> None:
        self.store = store
        self._fields = fields
        self._tables_kept = tables
        self.shards = shards
        self.cache = cache
        self._tables: OrderedDict[int, Future[Table]] = OrderedDict()
        self._lock = threading.Lock()

    def table(self, number: int) -> Table:
        """Return the table of a shard; the most recently used ones are kept. Threads wait for the first that reads it."""
        with self._lock:
            earlier, own = self._tables.get(number), Future[Table]()
            self._tables[number] = earlier or own
            self._tables.move_to_end(number)
            if len(self._tables) > self._tables_kept:
                self._tables.popitem(last=False)
        if earlier is not None:
            return earlier.result()
        try:
            own.set_result(read_table(self.store, self.shards[number], self._fields))
        except BaseException as error:
            with self._lock:
                if self._tables.get(number) is own:
                    del self._tables[number]
            own.set_exception(error)
        return own.result()

    def read(self, stretches: tuple[Stretch, ...], permutation: NDArray[np.int64]) -> Block:
        """Fetch stretches by one ranged GET each, check every sample, and permute the samples.

        Raises:
            DataError: when a shard cannot be read.
        """
        contents, owner, members, shards, damaged = [], [], [], [], []
        for i, stretch in enumerate(stretches):
            table = self.table(stretch.shard)
            rows = slice(stretch.first, stretch.last)
            content, wrong = self._checked(stretch, table)
            begins = table.members[rows].astype(np.int64)
            begins[:, :, 0] += (table.offsets[rows] - table.offsets[stretch.first])[:, None]
            contents.append(content)
            members.append(begins)
            owner.append(np.full(stretch.last - stretch.first, i))
            shards.append(np.stack([np.full(len(begins), stretch.shard), np.arange(stretch.first, stretch.last)], axis=1))
            damaged.append(wrong)
        return Block(
            contents,
            np.concatenate(owner)[permutation],
            np.concatenate(members)[permutation],
            np.concatenate(shards)[permutation],
            np.concatenate(damaged)[permutation],
        )

    def _checked(self, stretch: Stretch, table: Table) -> tuple[memoryview, NDArray[np.bool_]]:
        """Return the bytes of a stretch, and which of its samples are damaged even after reading again."""
        shard = self.shards[stretch.shard]
        start, length = table.span(stretch.first, stretch.last)
        for _ in range(CHECKSUM_ATTEMPTS):
            content = self._get(shard, start, length)
            whole = table.whole(content, stretch.first, stretch.last)
            if whole.all():
                break
            self.store.statistics.retried("Checksum")
            if self.cache is not None:
                self.cache.drop(self.store, shard, start, length)
        return content, ~whole

    def _get(self, shard: Shard, start: int, length: int) -> memoryview:
        if self.cache is not None:
            return self.cache.get_range(self.store, shard, start, length)
        return self.store.get_range(shard.name, start, length)


@dataclass(frozen=True, order=True)
class _Plan:
    """Successive windows of a lane that are read together; plans are sorted by the batch that needs them first.

    Attributes:
        begin, end: the windows; ``end`` is exclusive.
        bytes: estimate of what is read.
    """

    epoch: int
    batch: int
    lane: int
    begin: int
    end: int
    bytes: int


@dataclass(frozen=True)
class Fetched:
    """A block to be consumed from its sample ``first`` on; the samples before were consumed in an earlier run."""

    block: Block
    first: int
    budgeted: int


class Fetcher:
    """Fetches blocks of some lanes ahead of their use.

    Blocks are requested in the order in which they will be needed, as long as those held and those requested stay within
    ``budget`` together. A block that is needed *now* is fetched in any case, so that a small budget is slow but never blocks.
    Only one thread may call :meth:`next_block` and :meth:`release`.

    Args:
        lanes: of this rank.
        epoch, batch: position to begin at.
        budget: bytes.
        threads: number of simultaneous reads.
    """

    def __init__(
        self, reader: ShardReader, order: Order, lanes: range, epoch: int, batch: int, budget: int, threads: int
    ) -> None:
        self.reader = reader
        self.order = order
        samples, size = sum(s.count for s in reader.shards), sum(s.bytes for s in reader.shards)
        self.budget = min(budget, size * len(lanes) // order.lanes)  # never more than an epoch ahead
        self.held = 0
        self.peak = 0
        self._sample_bytes = max(size // max(samples, 1), 1)
        together = min(max(budget // (2 * len(lanes)), SMALLEST_READ), LARGEST_READ)
        self._windows_together = max(1, together // (order.window * self._sample_bytes))
        self._first = dict.fromkeys(lanes, batch * order.per_lane)
        self._plans = self._all_plans(lanes, epoch, batch)
        self._upcoming = next(self._plans)
        self._fetched: dict[int, deque[tuple[_Plan, Future[Block]]]] = {lane: deque() for lane in lanes}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read-shards")

    def next_block(self, lane: int) -> Fetched:
        """Return the lane's next block, when it has been read.

        Raises:
            DataError: when it cannot be read.
        """
        self._admit()
        while not self._fetched[lane]:
            self._submit()  # it is needed now, even beyond the budget
        plan, future = self._fetched[lane].popleft()
        skipped = max(self._first.pop(lane, 0) - self.order.window_bounds(lane, plan.begin)[0], 0)
        return Fetched(future.result(), skipped, plan.bytes)

    def release(self, fetched: Fetched) -> None:
        """Give the bytes of a block back to the budget: all its samples are used."""
        self.held -= fetched.budgeted
        self._admit()

    def close(self) -> None:
        """Stop the threads without waiting for reads that have begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self) -> None:
        while self.held + self._upcoming.bytes <= self.budget:
            self._submit()

    def _submit(self) -> None:
        plan, self._upcoming = self._upcoming, next(self._plans)
        self.held += plan.bytes
        self.peak = max(self.peak, self.held)
        self._fetched[plan.lane].append((plan, self._threads.submit(self._read, plan)))

    def _read(self, plan: _Plan) -> Block:
        order, (epoch, lane) = self.order, (plan.epoch, plan.lane)
        begin, end = order.window_bounds(lane, plan.begin)[0], order.window_bounds(lane, plan.end - 1)[1]
        return self.reader.read(
            order.stretches(epoch, lane, begin, end), order.permutation(epoch, lane, range(plan.begin, plan.end))
        )

    def _all_plans(self, lanes: range, epoch: int, batch: int) -> Iterator[_Plan]:
        """Yield the plans of all lanes, epoch after epoch, without end."""
        while True:
            yield from heapq.merge(*(self._lane_plans(epoch, lane, batch) for lane in lanes))
            epoch, batch = epoch + 1, 0

    def _lane_plans(self, epoch: int, lane: int, batch: int) -> Iterator[_Plan]:
        """Yield the plans of one lane for the rest of an epoch, from ``batch`` on."""
        order = self.order
        used, length = order.batches * order.per_lane, order.lane_length(lane)
        window = order.window_at(lane, batch * order.per_lane)[0]
        while (begin := order.window_bounds(lane, window)[0]) < used:
            following = window + self._windows_together
            while order.window_bounds(lane, following - 1)[0] >= used:  # the epoch ends before it
                following -= 1
            samples = min(order.window_bounds(lane, following - 1)[1], length) - begin
            yield _Plan(epoch, max(begin // order.per_lane, batch), lane, window, following, samples * self._sample_bytes)
            window = following
