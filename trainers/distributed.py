"""Data parallelism for adversaries: each player's gradients are averaged over ranks exactly once an update.

DDP expects one forward call for each backward, and averages every parameter that it wraps. So a *player* is wrapped, as one
module whose forward makes all that its loss needs; in the other player's phase it is frozen and called un-wrapped.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """This process among the workers of one run."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Rank 0 alone writes records, pictures and checkpoints."""
        return self.rank == 0


def player(network: nn.Module, world: World) -> nn.Module:
    """``network`` itself, or with several ranks DDP around it, which also gives every rank the weights of rank 0.

    Buffers stay each rank's own: they are batch statistics that training does not read.
    """
    if world.size == 1:
        return network
    with warnings.catch_warnings():
        # torch 2.13 warns of a new name for broadcast_buffers that torch 2.9 does not know
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
        return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)


def mean_over_ranks(values: Tensor, world: World) -> Tensor:
    """The mean over all ranks' samples (B, ...) → (...), the same on every rank; ranks hold equally many."""
    mean = values.mean(0)
    if world.size > 1:
        dist.all_reduce(mean)
        mean = mean / world.size
    return mean


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within, the parameters of ``network`` want no gradients: a gradient passes through them, none is made for them."""
    parameters = list(network.parameters())
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
