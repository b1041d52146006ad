"""Data parallelism for adversaries: each player's gradients are averaged over ranks exactly once an update.

DDP expects one forward call for each backward, and averages every parameter that it wraps. So a *player* is wrapped, as one
module whose forward makes all that its loss needs; in the other player's phase it is frozen and called un-wrapped.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unbraid.datasets.stream.order import rank_lanes
from unbraid.models.random import RandomSource


@dataclass(frozen=True)
class World:
    """This process among the workers of one run.

    Attributes:
        lanes: of the run's batches; 0 where a batch is shared equally whatever its lanes.
    """

    rank: int = 0
    size: int = 1
    lanes: int = 0

    @property
    def parts(self) -> int:
        """Equal parts of a global batch, as few as can be shared out whole: one a rank, or its lanes."""
        return self.size if self.is_equal else self.lanes

    @property
    def owned(self) -> range:
        """The parts of this rank; where they cannot be shared equally, some ranks have one more than others."""
        return rank_lanes(self.parts, self.rank, self.size)

    @property
    def weight(self) -> float:
        """How much more than an equal share of a global batch this rank holds; the mean over ranks is 1."""
        return len(self.owned) * self.size / self.parts

    @property
    def is_equal(self) -> bool:
        """Whether all ranks hold equally many samples."""
        return self.lanes % self.size == 0

    def backward(self, loss: Tensor) -> None:
        """Make gradients of the global batch's mean loss, from this rank's mean: it counts as the rank has samples.

        Before the backward pass, because batch statistics carry gradients from one rank's loss to another's activations.
        """
        (loss if self.is_equal else loss * self.weight).backward()

    def random(self, seed: int, device: torch.device) -> RandomSource:
        """This rank's slice of the random numbers of a run."""
        return RandomSource(seed, device, self.parts, self.owned, self.rank)

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
    """The mean over all ranks' samples (B, ...) → (...), the same on every rank."""
    mean = values.mean(0)
    if world.size > 1:
        mean = mean * world.weight
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
