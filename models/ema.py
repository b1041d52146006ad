"""Moving averages of weights."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def averaged(network: Network) -> Network:
    """A copy of ``network`` that will follow it: never trained, in evaluation mode."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def follow_when_due(average: nn.Module, network: nn.Module, updates: int, decay: float, every: int) -> None:
    """After every update: each ``every``-th time, move ``average`` so that it forgets by ``decay`` an update.

    Young weights are forgotten faster, or the average would show the first ones for long.
    """
    if updates % every == 0:
        follow(average, network, 1 - min(decay, (1 + updates) / (10 + updates)) ** every)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, weight: float) -> None:
    """Move ``average`` a share ``weight`` of the way to ``network``; batch norms' statistics are taken over as they are.

    Buffers go by name: a batch norm over all workers has no count of batches.
    """
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
    theirs = dict(network.named_buffers())
    for name, mine in average.named_buffers():
        if name in theirs:
            mine.copy_(theirs[name])
