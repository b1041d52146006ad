"""Random numbers that depend on the seed and the update only: not on workers, restarts or earlier draws."""

import numpy as np
import torch
from torch import Tensor


class RandomSource:
    """Draws random numbers for the global batch and returns this rank's slice.

    Every rank has the same generator and draws for the *global* batch, so that a run on 1, 2 or 8 workers has the same latents
    and augmentations. Before each update, :meth:`seek` seeds the generator from (seed, update), so that a checkpoint needs no
    state of it. Drawing the whole batch costs each rank a few thousand numbers, far less than one layer.

    Args:
        seed: of the run.
        device: of the numbers. On ``meta``, which has no generators, only shapes are computed.
        lanes: number of equal parts of a global batch.
        owned: this rank's parts, neighbours of each other.
        rank: seeds torch's default generator differently on each rank.
    """

    def __init__(self, seed: int, device: torch.device, lanes: int = 1, owned: range = range(1), rank: int = 0) -> None:
        self.seed = seed
        self.device = device
        self.lanes = lanes
        self.owned = owned
        self.rank = rank
        self._generator = None if device.type == "meta" else torch.Generator(device)
        self.seek(0)

    def seek(self, update: int) -> None:
        """Seed this source for one update, and torch's default generator, which dropout uses, differently on each rank."""
        mine, default = np.random.SeedSequence([self.seed, update]).generate_state(2, np.uint64)
        if self._generator is not None:
            self._generator.manual_seed(int(mine >> np.uint64(1)))
            torch.manual_seed(int(default >> np.uint64(1)) + self.rank)

    def uniform(self, batch: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(batch, *shape) in [low, high); ``batch`` is this rank's share of the global batch."""
        numbers = torch.rand(self._whole(batch), *shape, generator=self._generator, device=self.device)
        return self._mine(numbers, batch) * (high - low) + low

    def normal(self, batch: int, *shape: int) -> Tensor:
        """(batch, *shape) from N(0, 1)."""
        numbers = torch.randn(self._whole(batch), *shape, generator=self._generator, device=self.device)
        return self._mine(numbers, batch)

    def _whole(self, batch: int) -> int:
        return batch // len(self.owned) * self.lanes

    def _mine(self, numbers: Tensor, batch: int) -> Tensor:
        start = batch // len(self.owned) * self.owned.start
        return numbers[start : start + batch]
