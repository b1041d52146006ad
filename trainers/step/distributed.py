"""Ranks of one run: how they share a global batch, and how they measure together.

Each player's gradients are averaged over ranks exactly once an update, see :mod:`unbraid.trainers.step.player`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unbraid.datasets.stream.order import rank_lanes
from unbraid.models.random import RandomSource

T = TypeVar("T")


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
        """This rank's share of a global batch over an equal share; the mean over ranks is 1."""
        return len(self.owned) * self.size / self.parts

    @property
    def is_equal(self) -> bool:
        """Whether all ranks hold equally many samples."""
        return self.lanes % self.size == 0

    def backward(self, loss: Tensor) -> None:
        """Compute gradients of the global batch's mean loss from this rank's mean, weighted by the rank's share of samples.

        Before the backward pass, because batch statistics carry gradients from one rank's loss to another's activations.
        """
        (loss if self.is_equal else loss * self.weight).backward()

    def random(self, seed: int, device: torch.device) -> RandomSource:
        """This rank's slice of the random numbers of a run."""
        return RandomSource(seed, device, self.parts, self.owned, self.rank)

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes records, pictures and checkpoints."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device for tensors of collectives: NCCL exchanges memory of GPUs only."""
        return torch.device("cuda" if self.size > 1 and dist.get_backend() == "nccl" else "cpu")

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true on any rank; a collective."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())


def mean_over_ranks(values: Tensor, world: World) -> Tensor:
    """The mean over all ranks' samples (B, ...) → (...), the same on every rank."""
    mean = values.mean(0)
    if world.size > 1:
        mean = mean * world.weight
        dist.all_reduce(mean)
        mean = mean / world.size
    return mean


def sum_over_ranks(values: Tensor, world: World) -> Tensor:
    """The sum of a tensor over all ranks, the same on every rank; not differentiable."""
    if world.size == 1:
        return values
    total = values.to(world.device)
    dist.all_reduce(total)
    return total.to(values.device)


def spread(function: Callable[[T], Tensor], inputs: Sequence[T], world: World) -> list[Tensor]:
    """``[function(x) for x in inputs]`` on every rank, each rank computing its stride of it; a collective.

    Args:
        function: gives tensors that differ in their first dimension only.
        inputs: the same on every rank.
    """
    return gather_parts([function(x) for x in inputs[world.rank :: world.size]], world)


def gather_parts(parts: Sequence[Tensor], world: World) -> list[Tensor]:
    """The parts of all ranks, in the order of one rank alone; a collective.

    Args:
        parts: of this rank, its stride: of all parts the one with the index i is on rank i mod size. They differ in their first
            dimension only. Rank 0 has one at least.

    Returns:
        All parts, on the device of this rank's.
    """
    if world.size == 1:
        return list(parts)
    shape, dtype = _common_form(parts, world)
    device = parts[0].device if parts else world.device
    rows = [len(part) for part in parts]
    counts = _gather_padded(torch.tensor(rows, dtype=torch.int64), world)
    own = torch.cat(list(parts)).to(dtype) if parts else torch.empty(0, *shape, dtype=dtype)
    gathered = _gather_padded(own, world)
    of_rank = [values.to(device).split(count.tolist()) for values, count in zip(gathered, counts, strict=True)]
    rounds = range(max(len(count) for count in counts))
    return [parts_of[i] for i in rounds for parts_of, count in zip(of_rank, counts, strict=True) if i < len(count)]


def _common_form(parts: Sequence[Tensor], world: World) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape of a row and type of rank 0's parts, for ranks that have none."""
    form: list[object] = [(tuple(parts[0].shape[1:]), parts[0].dtype) if parts else None]
    dist.broadcast_object_list(form, src=0, device=world.device)
    (found,) = form
    assert isinstance(found, tuple), "rank 0 always has a part"
    return found


def _gather_padded(rows: Tensor, world: World) -> list[Tensor]:
    """Every rank's rows (N, ...), of which each may have another N."""
    own = rows.to(world.device)
    sizes = [torch.zeros(1, dtype=torch.int64, device=world.device) for _ in range(world.size)]
    dist.all_gather(sizes, torch.tensor([len(own)], dtype=torch.int64, device=world.device))
    most = max(int(size) for size in sizes)
    padded = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
    every = [torch.empty_like(padded) for _ in range(world.size)]
    dist.all_gather(every, padded)
    return [values[: int(size)] for values, size in zip(every, sizes, strict=True)]


def on_main(function: Callable[[], dict[str, float]], world: World) -> dict[str, float]:
    """What ``function`` gives on rank 0, on every rank; a collective, for statistics that are not shared out."""
    scores: list[dict[str, float]] = [function() if world.is_main else {}]
    if world.size > 1:
        dist.broadcast_object_list(scores, src=0, device=world.device)
    return scores[0]


def share_buffers(networks: Mapping[str, nn.Module], world: World) -> None:
    """Give every rank rank 0's buffers of the networks that are in evaluation mode; a collective.

    Weights are the same on all ranks, but batch norms' statistics are each rank's own (``run.batch_norm=each``). Measures that
    are shared out over ranks must see one model: rank 0's, which checkpoints hold too.
    """
    if world.size == 1:
        return
    for network in networks.values():
        if not network.training:
            for buffer in network.buffers():
                shared = buffer.to(world.device)
                dist.broadcast(shared, src=0)
                buffer.copy_(shared)


def device_name(device: torch.device) -> str:
    """The name of a card, such as ``NVIDIA H100 80GB HBM3``; ``cpu`` of a processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
