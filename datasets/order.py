"""The order of samples: a pure function of (seed, epoch, lanes), with no input or output.

Shards are dealt to *lanes*. Each lane runs through its shards and shuffles within windows. A global batch
takes the same number of samples from every lane, lane 0's first; a rank owns ``lanes / world_size`` neighbouring
lanes. So the global sequence of batches is the same for any number of ranks, all ranks have equally many, no rank reads
another's shards, and any position is found by arithmetic: nothing is replayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


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
        window: samples of a lane that are shuffled together.
        seed: another seed is another order.

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
        """Samples that one lane gives to one global batch."""
        return self.batch // self.lanes

    def lane_shards(self, epoch: int) -> tuple[tuple[int, ...], ...]:
        """Shards of each lane, in reading order; every epoch deals anew."""
        return _deal(len(self.counts), self.lanes, self.seed, epoch)

    def lane_length(self, epoch: int, lane: int) -> int:
        """Samples in a lane."""
        return sum(self.counts[shard] for shard in self.lane_shards(epoch)[lane])

    def batches(self, epoch: int) -> int:
        """Global batches in an epoch: what the shortest lane fills. The remainder of each lane is left out this epoch."""
        return min(self.lane_length(epoch, lane) for lane in range(self.lanes)) // self.per_lane

    def window_stretches(self, epoch: int, lane: int, window: int) -> tuple[Stretch, ...]:
        """Where the samples of a lane's window lie, in the lane's unshuffled order; empty after its end."""
        begin, end = window * self.window, (window + 1) * self.window
        stretches: list[Stretch] = []
        passed = 0
        for shard in self.lane_shards(epoch)[lane]:
            count = self.counts[shard]
            first, last = max(begin - passed, 0), min(end - passed, count)
            if first < last:
                stretches.append(Stretch(shard, first, last))
            passed += count
        return tuple(stretches)

    def window_permutation(self, epoch: int, lane: int, window: int, length: int) -> NDArray[np.int64]:
        """Order in which the ``length`` samples of a window come."""
        return np.random.default_rng([self.seed, epoch, lane, window]).permutation(length)


def rank_lanes(lanes: int, rank: int, world_size: int) -> range:
    """The lanes that a rank owns.

    Raises:
        ValueError: when lanes cannot be shared equally.
    """
    if lanes % world_size:
        raise ValueError(f"{lanes} lanes cannot be shared by {world_size} ranks: use a multiple of them for data.lanes")
    share = lanes // world_size
    return range(rank * share, (rank + 1) * share)


@lru_cache(maxsize=4)
def _deal(shards: int, lanes: int, seed: int, epoch: int) -> tuple[tuple[int, ...], ...]:
    shuffled: Sequence[int] = np.random.default_rng([seed, epoch]).permutation(shards).tolist()
    return tuple(tuple(shuffled[lane::lanes]) for lane in range(lanes))
