"""Computes the order of samples: a pure function of (seed, epoch, lanes), without input or output.

In every epoch, the shards are shuffled and laid end to end: one sequence of N samples. A shard so large that lanes would get
few of its like is shuffled in several pieces. The sequence is cut into *lanes*: lane l owns the positions l·N // lanes to
(l + 1)·N // lanes, so that lanes differ by one sample at most, whatever the lengths of the shards.
Each lane shuffles its samples within windows. A global batch takes the same number of samples from every lane, lane 0's first;
a rank owns ``lanes / world_size`` neighbouring lanes. So the global sequence of batches is the same for any number of ranks,
all ranks have equally many batches, no sample is read by two ranks, and any position is computed, not replayed. A shard that
two lanes share is read by both, each its own part.

The first window of each lane is shorter than that of the lane before it. The windows of different lanes therefore end at
different times, and a rank fetches at a steady rate.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PIECES_A_LANE = 4
"""What is shuffled as a whole is no larger than a lane divided by this."""
EPOCHS_KEPT = 4
"""Epochs whose sequence of shards an order keeps in memory: reading ahead may be in the next one."""


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
        lanes: number of equal parts of an epoch from which every batch takes samples.
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
        if self.batch % self.lanes:
            raise ValueError(
                f"a batch of {self.batch} is not a multiple of {self.lanes} lanes: change data.batch or data.lanes"
            )
        if self.batches == 0:
            raise ValueError(
                f"{self.samples:,} samples do not fill one batch of {self.batch}: "
                "use a smaller data.batch, or pack more samples"
            )

    @property
    def per_lane(self) -> int:
        """Samples of one lane in one global batch."""
        return self.batch // self.lanes

    @cached_property
    def samples(self) -> int:
        """Samples of all shards."""
        return sum(self.counts)

    @property
    def batches(self) -> int:
        """Global batches of an epoch. Fewer samples than one batch are left out, the last ones of the lanes."""
        return self.samples // self.batch

    def lane_bounds(self, lane: int) -> tuple[int, int]:
        """Return the first and the last (exclusive) position of a lane in an epoch's sequence."""
        return lane * self.samples // self.lanes, (lane + 1) * self.samples // self.lanes

    def lane_length(self, lane: int) -> int:
        """Return the number of samples in a lane: enough for all batches of an epoch."""
        first, last = self.lane_bounds(lane)
        return last - first

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
        first_of_lane, last_of_lane = self.lane_bounds(lane)
        begin, end = first_of_lane + begin, min(first_of_lane + end, last_of_lane)
        if begin >= end:
            return ()
        pieces, ends = self._sequence(epoch)
        first, last = np.searchsorted(ends, [begin, end - 1], side="right").tolist()
        stretches = []
        for piece, stop in zip(pieces[first : last + 1].tolist(), ends[first : last + 1].tolist(), strict=True):
            shard, offset, count = self._pieces[piece].tolist()
            start = stop - count
            if count:
                stretches.append(Stretch(shard, offset + max(begin - start, 0), offset + min(end - start, count)))
        return tuple(stretches)

    def permutation(self, epoch: int, lane: int, windows: range) -> NDArray[np.int64]:
        """Return the shuffled order of the samples in successive windows, as indices relative to the first of them."""
        begin, length = self.window_bounds(lane, windows.start)[0], self.lane_length(lane)
        if self.window == 1:
            return np.arange(min(self.window_bounds(lane, windows.stop - 1)[1], length) - begin)
        parts = []
        for window in windows:
            first, last = self.window_bounds(lane, window)
            generator = np.random.default_rng([self.seed, epoch, lane, window])
            parts.append(first - begin + generator.permutation(max(min(last, length) - first, 0)))
        return np.concatenate(parts)

    @cached_property
    def _pieces(self) -> NDArray[np.int64]:
        """(P, 3) shard, first sample and number of samples of each piece that is shuffled as a whole.

        A piece is a shard. A shard with so many samples that lanes would get few of its like is cut into several, so that
        a set of few tars is mixed like one of many.
        """
        largest = max(1, -(-self.samples // (PIECES_A_LANE * self.lanes)))
        pieces = []
        for shard, count in enumerate(self.counts):
            parts = max(1, -(-count // largest))
            bounds = [part * count // parts for part in range(parts + 1)]
            pieces += [(shard, first, last - first) for first, last in pairwise(bounds)]
        return np.array(pieces, dtype=np.int64)

    @cached_property
    def _sequence(self) -> Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Function of the epoch: (P,) its pieces in order, and (P,) the position after each of them. It keeps a few epochs."""
        counts = self._pieces[:, 2]

        @lru_cache(maxsize=EPOCHS_KEPT)
        def sequence(epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            pieces = np.random.default_rng([self.seed, epoch]).permutation(len(counts))
            return pieces, np.cumsum(counts[pieces])

        return sequence


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
