"""Ordered, endless, equal batches for one rank, streamed from shards."""

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import torch
import webdataset as wds
from torch import Tensor

from datasets.decoding import decode
from datasets.errors import DataError
from datasets.index import Index, Shard, read_index
from datasets.order import Order, rank_lanes
from datasets.shards import Sample, read_samples
from datasets.store import Store, open_store

READ_THREADS = 4


@dataclass(frozen=True)
class Position:
    """How far the global sequence has been consumed; the same record on every rank, for any number of ranks."""

    epoch: int = 0
    batch: int = 0

    def after(self, order: Order) -> "Position":
        """The position one global batch later."""
        if self.batch + 1 < order.batches(self.epoch):
            return Position(self.epoch, self.batch + 1)
        return Position(self.epoch + 1, 0)


@dataclass
class StreamStatistics:
    """Counters that a person watches.

    Attributes:
        wait_seconds: that the consumer stood still for data.
        bytes: read from the store.
        samples: decoded.
    """

    wait_seconds: float = 0.0
    bytes: int = 0
    samples: int = 0


@dataclass
class _Lane:
    """One lane's current window, and the next one on its way."""

    number: int
    samples: list[Sample] = field(default_factory=list)
    taken: int = 0
    window: int = 0
    upcoming: "Future[list[Sample]] | None" = None


class ImageStream:
    """An endless iterator over this rank's share of the global batches.

    Batches are ``{"image": uint8 (B, C, H, W), "label": int64 (B,)}`` on the CPU, label only where the set has it.
    Reading and decoding happen in background threads, at most ``prefetch`` batches ahead.

    Args:
        url, split: the packed set.
        batch: size of the *global* batch.
        lanes, window, seed: of the order, see :class:`datasets.order.Order`.
        rank, world_size: which share of each batch this is.
        position: where to go on.

    Raises:
        DataError: when the set cannot be read or its shards do not fit the numbers.
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
        prefetch: int = 8,
        position: Position | None = None,
    ) -> None:
        self.store: Store = open_store(url)
        self.index: Index = read_index(self.store)
        self._shards: tuple[Shard, ...] = self.index.shards(split)
        try:
            self.order = Order(tuple(s.count for s in self._shards), batch, lanes, window, seed)
            self._lanes = rank_lanes(lanes, rank, world_size)
        except ValueError as error:
            raise DataError(f"{url}: {error}") from None
        self.position = position or Position()
        self.statistics = StreamStatistics()
        self._share = batch // world_size
        self._ready: queue.Queue[dict[str, Tensor] | BaseException] = queue.Queue(prefetch)
        self._closed = threading.Event()
        self._reader = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read-shards")
        self._decoder = threading.Thread(target=self._fill, name="decode-batches", daemon=True)
        self._decoder.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Tensor]:
        started = time.perf_counter()
        item = self._ready.get()
        self.statistics.wait_seconds += time.perf_counter() - started
        if isinstance(item, BaseException):
            raise item
        self.position = self.position.after(self.order)
        return item

    def close(self) -> None:
        """Stop the background threads; batches already decoded are dropped."""
        self._closed.set()
        while self._decoder.is_alive():
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue
        self._reader.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> None:
        pipeline = wds.DataPipeline(
            self._samples,
            wds.map(lambda sample: decode(sample, self.index, self.store.url)),
            wds.batched(self._share, collation_fn=collate, partial=False),
        )
        try:
            for batch in pipeline:
                if not self._offer(batch):
                    return
        except Exception as error:  # handed to the consumer, which raises it
            self._offer(error)

    def _offer(self, item: dict[str, Tensor] | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _samples(self) -> Iterator[Sample]:
        """All samples of this rank from the starting position on, epoch after epoch."""
        epoch, first = self.position.epoch, self.position.batch
        while True:
            lanes = [self._enter(epoch, number, first * self.order.per_lane) for number in self._lanes]
            for _ in range(first, self.order.batches(epoch)):
                for lane in lanes:
                    for _ in range(self.order.per_lane):
                        yield self._take(epoch, lane)
            epoch, first = epoch + 1, 0

    def _enter(self, epoch: int, number: int, sample: int) -> _Lane:
        window, taken = divmod(sample, self.order.window)
        lane = _Lane(number, taken=taken, window=window)
        lane.upcoming = self._reader.submit(self._read_window, epoch, number, window)
        return lane

    def _take(self, epoch: int, lane: _Lane) -> Sample:
        if lane.taken >= len(lane.samples) and lane.upcoming is not None:
            if lane.samples:
                lane.taken, lane.window = 0, lane.window + 1
            lane.samples = lane.upcoming.result()
            lane.upcoming = self._reader.submit(self._read_window, epoch, lane.number, lane.window + 1)
        sample = lane.samples[lane.taken]
        lane.taken += 1
        return sample

    def _read_window(self, epoch: int, lane: int, window: int) -> list[Sample]:
        samples: list[Sample] = []
        for stretch in self.order.window_stretches(epoch, lane, window):
            shard = self._shards[stretch.shard]
            samples.extend(read_samples(self.store, shard, stretch.first, stretch.last))
            self.statistics.bytes += shard.span(stretch.first, stretch.last)[1]
        self.statistics.samples += len(samples)
        return [samples[i] for i in self.order.window_permutation(epoch, lane, window, len(samples))]


def read_split(url: str, split: str, batch: int, limit: int | None = None) -> Iterator[dict[str, Tensor]]:
    """Every sample of a split once, in packed order, in batches; the last may be smaller.

    Args:
        limit: stop after so many samples.
    """
    store = open_store(url)
    index = read_index(store)
    pending: list[dict[str, Tensor]] = []
    left = limit
    for shard in index.shards(split):
        count = shard.count if left is None else min(shard.count, left)
        if count == 0:
            break
        for sample in read_samples(store, shard, 0, count):
            pending.append(decode(sample, index, store.url))
            if len(pending) == batch:
                yield collate(pending)
                pending = []
        left = None if left is None else left - count
    if pending:
        yield collate(pending)


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack samples of the same members into one batch."""
    names = [name for name in samples[0] if not name.startswith("__")]  # webdataset hands __key__ on
    return {name: torch.stack([sample[name] for sample in samples]) for name in names}
