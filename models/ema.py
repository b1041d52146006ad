"""Exponential moving averages (EMA) of weights."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def ema_copy(network: Network) -> Network:
    """A copy of ``network`` to hold its moving average: never trained, in evaluation mode."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def update_ema(ema: nn.Module, network: nn.Module, updates: int, decay: float, every: int) -> None:
    """After every update: each ``every``-th time, move the average by what ``decay`` an update comes to since the last time.

    The decay is smaller after few updates, or the average would keep the first weights for long. Moving it only now and then
    keeps the time constant for a fraction of the memory traffic.
    """
    if updates % every == 0:
        move_towards(ema, network, 1 - min(decay, (1 + updates) / (10 + updates)) ** every)


@torch.no_grad()
def move_towards(ema: nn.Module, network: nn.Module, weight: float) -> None:
    """Move ``ema`` the share ``weight`` of the way to ``network``; batch norms' statistics are copied.

    Buffers are matched by name: a batch norm over all workers has no count of batches.
    """
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), weight)
    theirs = dict(network.named_buffers())
    for name, mine in ema.named_buffers():
        if name in theirs:
            mine.copy_(theirs[name])
