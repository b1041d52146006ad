"""A source whose random numbers a test chooses, so that what is computed from them is known by hand."""

import torch
from torch import Tensor

from unbraid.models.random import RandomSource


class ChosenNumbers(RandomSource):
    """Returns given numbers in [0, 1), in the order of the calls, whatever shape is asked for."""

    def __init__(self, *numbers: Tensor) -> None:
        super().__init__(0, torch.device("cpu"))
        self._numbers = list(numbers)

    def uniform(self, batch: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return self._numbers.pop(0).expand(batch, -1).reshape(batch, *shape) * (high - low) + low
