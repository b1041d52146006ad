"""Computes the order of samples: a pure function of (seed, epoch, lanes), without input or output.

Shards are dealt to *lanes*. Each lane yields its shards one after the other and shuffles samples within windows. A global batch
takes the same number of samples from every lane, lane 0's first; a rank owns ``lanes / world_size`` neighbouring lanes. So the
global sequence of batches is the same for any number of ranks, all ranks have equally many batches, no rank reads the shards
of another, and any position is computed, not replayed.

The first window of each lane is shorter than that of the lane before it. The windows of different lanes therefore end at
different times, and a rank fetches at a steady rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

EPOCHS_KEPT = 8
"""Epochs whose lane lengths an order keeps in memory."""


@dataclass(frozen=True)
class Stretch:
    """Samples ``first`` to ``last`` (exclusive) of shard number ``shard``."""

    shard: int
    first: int
    last: int


@dataclass(frozen=True)
class Order:
    """The sequence of all samples of a split.

    Args:
        counts: samples in each shard.
        batch: samples of a global batch; a multiple of ``lanes``.
        lanes: at most as many as shards.
        window: samples of a lane that are shuffled together; 1 does not shuffle.
        seed: of all permutations.

    Raises:
        ValueError: when the numbers do not fit each other.
    """

    counts: tuple[int, ...]
    batch: int
    lanes: int
    window: int
    seed: int

    def __post_init__(self) -> None:
        if self.lanes > len(self.counts):
            raise ValueError(
                f"{self.lanes} lanes need at least as many shards, there are {len(self.counts)}: "
                "lower data.lanes, or pack the set into more shards"
            )
        if self.batch % self.lanes:
            raise ValueError(
                f"a batch of {self.batch} is not a multiple of {self.lanes} lanes: change data.batch or data.lanes"
            )
        if self.batches(0) == 0:
            raise ValueError(
                f"{sum(self.counts)} samples on {self.lanes} lanes do not fill one batch of {self.batch}: "
                "use a smaller data.batch or data.lanes"
            )

    @property
    def per_lane(self) -> int:
        """Samples of one lane in one global batch."""
        return self.batch // self.lanes

    def lane_shards(self, epoch: int, lane: int) -> NDArray[np.int64]:
        """Return the shards of a lane in reading order; they are dealt anew in every epoch."""
        return _deal(len(self.counts), self.seed, epoch)[lane :: self.lanes]

    def lane_length(self, epoch: int, lane: int) -> int:
        """Return the number of samples in a lane."""
        return int(self._lane_lengths(epoch)[lane])

    def batches(self, epoch: int) -> int:
        """Return the global batches of an epoch, as many as the shortest lane fills. The rest of each lane is left out."""
        return int(self._lane_lengths(epoch).min()) // self.per_lane

    def window_bounds(self, lane: int, window: int) -> tuple[int, int]:
        """Return the first and the last (exclusive) position of a window in its lane."""
        first = self.window - lane * self.window // self.lanes
        return (0, first) if window == 0 else (first + (window - 1) * self.window, first + window * self.window)

    def window_at(self, lane: int, position: int) -> tuple[int, int]:
        """Return the window of a lane that holds a position, and the offset of the position in the window."""
        first = self.window_bounds(lane, 0)[1]
        window = 0 if position < first else 1 + (position - first) // self.window
        return window, position - self.window_bounds(lane, window)[0]

    def stretches(self, epoch: int, lane: int, begin: int, end: int) -> tuple[Stretch, ...]:
        """Locate positions ``begin`` to ``end`` (exclusive) of a lane before shuffling; positions after its end are dropped."""
        stretches: list[Stretch] = []
        passed = 0
        for shard in self.lane_shards(epoch, lane).tolist():
            if passed >= end:
                break
            count = self.counts[shard]
            first, last = max(begin - passed, 0), min(end - passed, count)
            if first < last:
                stretches.append(Stretch(shard, first, last))
            passed += count
        return tuple(stretches)

    def permutation(self, epoch: int, lane: int, windows: range) -> NDArray[np.int64]:
        """Return the shuffled order of the samples in successive windows, as indices relative to the first of them."""
        begin, length = self.window_bounds(lane, windows.start)[0], self.lane_length(epoch, lane)
        if self.window == 1:
            return np.arange(min(self.window_bounds(lane, windows.stop - 1)[1], length) - begin)
        parts = []
        for window in windows:
            first, last = self.window_bounds(lane, window)
            generator = np.random.default_rng([self.seed, epoch, lane, window])
            parts.append(first - begin + generator.permutation(max(min(last, length) - first, 0)))
        return np.concatenate(parts)

    def _lane_lengths(self, epoch: int) -> NDArray[np.int64]:
        """Return (lanes,): the number of samples in each."""
        lengths = self._lengths.get(epoch)
        if lengths is None:
            dealt = np.array(self.counts, dtype=np.int64)[_deal(len(self.counts), self.seed, epoch)]
            padded = np.zeros(-(-len(dealt) // self.lanes) * self.lanes, dtype=np.int64)
            padded[: len(dealt)] = dealt
            lengths = padded.reshape(-1, self.lanes).sum(0)
            if len(self._lengths) >= EPOCHS_KEPT:
                self._lengths.clear()
            self._lengths[epoch] = lengths
        return lengths

    @cached_property
    def _lengths(self) -> dict[int, NDArray[np.int64]]:
        return {}


def rank_lanes(lanes: int, rank: int, world_size: int) -> range:
    """Return the lanes that a rank owns; they are neighbours, and the ranks' numbers of lanes differ by one at most.

    Raises:
        ValueError: when there are fewer lanes than ranks.
    """
    if lanes < world_size:
        raise ValueError(f"{lanes} lanes cannot be shared by {world_size} ranks: raise data.lanes, or use fewer workers")
    return range(rank * lanes // world_size, (rank + 1) * lanes // world_size)


def batch_stretches(counts: Sequence[int], batch: int, limit: int | None) -> Iterator[list[Stretch]]:
    """Yield where the samples of each batch lie, for shards of ``counts`` samples in packed order."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if limit is None else min(limit, int(ends[-1]))
    for begin in range(0, total, batch):
        end = min(begin + batch, total)
        first, last = np.searchsorted(ends, [begin, end - 1], side="right").tolist()
        starts = {shard: int(ends[shard]) - counts[shard] for shard in range(first, last + 1)}
        pieces = [Stretch(s, max(begin - start, 0), min(end - start, counts[s])) for s, start in starts.items()]
        yield [piece for piece in pieces if piece.first < piece.last]


def in_packed_order(stretch: Stretch) -> NDArray[np.int64]:
    """Return the permutation that leaves the samples of a stretch in their order."""
    return np.arange(stretch.last - stretch.first)


@lru_cache(maxsize=4)
def _deal(shards: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return all shards in the order in which they are dealt to lanes 0, 1, …, 0, 1, …"""
    return np.random.default_rng([seed, epoch]).permutation(shards)
