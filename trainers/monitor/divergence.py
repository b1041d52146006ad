"""Whether training has diverged."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from unbraid.trainers.errors import DivergenceError

REMEDY = (
    "training diverged; lower optim.lr_* or the loss weights, or use run.precision=float32: in this run, from a checkpoint "
    "that `unbraid runs show` lists, with --from step-N, or under another run.name"
)


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
        raise DivergenceError(f"{', '.join(broken)} is not finite at update {step}: {REMEDY}")
    return numbers


def all_finite(state: Any) -> list[Tensor]:
    """Whether all floating-point tensors in nested containers are finite: one boolean tensor a device, not copied from it."""
    flags: dict[torch.device, list[Tensor]] = {}
    for tensor in _tensors(state):
        if tensor.is_floating_point():
            flags.setdefault(tensor.device, []).append(tensor.detach().isfinite().all())
    return [torch.stack(of_device).all() for of_device in flags.values()]


def require_finite(state: Mapping[str, Any], step: int) -> None:
    """Check on the host that a state to be kept is finite.

    Args:
        state: parts by name, each nested containers of tensors.
        step: the number of the update, for the message.

    Raises:
        DivergenceError: naming the parts that are not.
    """
    broken = [name for name, part in state.items() if not all(flag.item() for flag in all_finite(part))]
    if broken:
        raise DivergenceError(f"{', '.join(broken)} of update {step} are not finite, and no checkpoint is made: {REMEDY}")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
