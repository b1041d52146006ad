"""Numbers that are not finite, and what to say of a run that has diverged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import DivergenceError
from unbraid.trainers.monitor.judge import Finding

SLOWER_SQUARE = 0.99
"""A second moment of Adam that forgets ten times as fast as by default: a rare gradient after many tiny ones moves a weight by
(1 − β₁)/√(1 − β₂) rates, which for β₁ = 0.5 is 5 with it and 15.8 with 0.999."""


def read_scalars(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """An update's scalars as numbers, copied from their device at once."""
    values = torch.stack([scalar.float() for scalar in scalars.values()]).tolist()
    return dict(zip(scalars, values, strict=True))


def all_finite(state: Any) -> list[Tensor]:
    """Whether all floating-point tensors in nested containers are finite: one boolean tensor a device, not copied from it."""
    flags: dict[torch.device, list[Tensor]] = {}
    for tensor in _tensors(state):
        if tensor.is_floating_point():
            flags.setdefault(tensor.device, []).append(tensor.detach().isfinite().all())
    return [torch.stack(of_device).all() for of_device in flags.values()]


def require_finite(state: Mapping[str, Any]) -> None:
    """Check on the host that a state to be kept is finite.

    Args:
        state: parts by name, each nested containers of tensors.

    Raises:
        DivergenceError: naming the parts that are not.
    """
    broken = [name for name, part in state.items() if not all(flag.item() for flag in all_finite(part))]
    if broken:
        raise DivergenceError(f"{', '.join(broken)} {'is' if len(broken) == 1 else 'are'} not finite")


def explain(config: SystemConfig, finding: Finding, good: int | None) -> str:
    """One line about a run that has to end: what happened, where to go on, and the two settings most likely to help.

    Args:
        good: step of the newest checkpoint from before; None where there is none.
    """
    settings = " or ".join(_remedies(config))
    if good is None:
        start = f"no checkpoint is from before: let it begin again with --from 0, and {settings}"
    else:
        start = f"the checkpoint of step {good} is from before: go on with --from step-{good}, and {settings}"
    return f"{finding.what}, certain at update {finding.step}; {start}"


def _remedies(config: SystemConfig) -> list[str]:
    """Settings that are worth a try first, the most promising one first."""
    optim = getattr(config, "optim", None)
    content: dict[str, Any] = {} if optim is None else optim.model_dump(mode="json")
    rates = [f"optim.{name}={value / 2:g}" for name, value in content.items() if name.startswith("lr")]
    remedies = [" ".join(rates)] if rates else []
    betas = content.get("betas")
    if betas is not None and betas[1] > SLOWER_SQUARE:
        remedies.append(f"optim.betas=[{betas[0]:g},{SLOWER_SQUARE:g}]")
    return [*remedies, "run.precision=float32"][:2]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
