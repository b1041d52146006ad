"""Exponential moving averages (EMA) of weights."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def ema_copy(network: Network) -> Network:
    """Copy ``network`` to hold its moving average: without gradients, in evaluation mode."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def update_ema(ema: nn.Module, network: nn.Module, updates: int, decay: float, every: int) -> None:
    """Move the average towards the network at every ``every``-th update: ema ← d^every · ema + (1 − d^every) · network.

    d is ``decay``, or (1 + n) / (10 + n) where that is smaller: with ``decay`` from the start the average would hold the first
    weights for long. Moving it at every ``every``-th update keeps the time constant, for a fraction of the memory traffic.

    Args:
        updates: n, the number of updates so far.
    """
    if updates % every == 0:
        move_towards(ema, network, 1 - min(decay, (1 + updates) / (10 + updates)) ** every)


@torch.no_grad()
def move_towards(ema: nn.Module, network: nn.Module, weight: float) -> None:
    """Move ``ema``'s weights by the share ``weight`` of their distance to ``network``'s; copy batch norms' statistics.

    Buffers are matched by name, because a :class:`GlobalBatchNorm` has no ``num_batches_tracked``.
    """
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), weight)
    theirs = dict(network.named_buffers())
    for name, mine in ema.named_buffers():
        if name in theirs:
            mine.copy_(theirs[name])
