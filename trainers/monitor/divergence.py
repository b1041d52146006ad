"""Whether training has diverged."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unbraid.trainers.errors import DivergenceError


def read_scalars(scalars: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """An update's scalars as numbers, copied from their device at once.

    Args:
        step: the number of the update, for the message.

    Raises:
        DivergenceError: when one is not finite.
    """
    values = torch.stack([scalar.float() for scalar in scalars.values()]).tolist()
    numbers = dict(zip(scalars, values, strict=True))
    broken = [name for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        raise DivergenceError(
            f"{', '.join(broken)} is not finite at update {step}: training diverged; lower optim.lr_* or the loss weights, or "
            "use run.precision=float32, under another run.name"
        )
    return numbers
