"""Data parallelism for adversaries: each player's gradients are averaged over ranks exactly once an update.

DDP wraps one network and expects one forward for each backward. An adversarial update calls the same trunk
on real and on made images, and each player's backward crosses the other's network. So the averaging hangs
on the *player*, not on the module: its parameters' gradients are views into flat buckets, and a bucket's
all-reduce starts when the last of its gradients is there, while backward goes on.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among the workers of one run."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Rank 0 alone writes records, pictures and checkpoints."""
        return self.rank == 0


class Bucket:
    """Parameters whose gradients lie in one flat buffer and travel together."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0]
        self.buffer = torch.zeros(sum(p.numel() for p in self.parameters), dtype=first.dtype, device=first.device)
        self.missing = len(self.parameters)
        self.work: dist.Work | None = None
        offset = 0
        for p in self.parameters:
            p.grad = self.buffer[offset : offset + p.numel()].view_as(p)
            offset += p.numel()

    def open(self) -> None:
        """Ready for one backward pass."""
        self.buffer.zero_()
        self.missing = len(self.parameters)
        self.work = None

    def wait(self) -> None:
        """Until the sum over ranks is in the buffer."""
        if self.work is None:
            raise RuntimeError(f"{self.missing} of a player's parameters got no gradient in this backward pass")
        self.work.wait()

    def arrived(self, _: Tensor) -> None:
        """Called when one parameter's gradient is complete; the last one starts the all-reduce."""
        self.missing -= 1
        if self.missing == 0:
            self.work = dist.all_reduce(self.buffer, async_op=True)


class PlayerGradients:
    """Averages one player's gradients over all ranks.

    With one process it is ``loss.backward()`` on cleared gradients. Use, in each phase of an update::

        gradients.backward(loss)
        optimizer.step()

    Args:
        networks: all networks that this player's optimiser updates.
        world: the process group's shape.
        bucket_bytes: size at which a bucket is closed; parameters are taken in reverse, as backward meets them.
    """

    def __init__(self, networks: Iterable[nn.Module], world: World, bucket_bytes: int = 4 << 20) -> None:
        self.parameters = [p for network in networks for p in network.parameters()]
        self.world = world
        self.buckets: list[Bucket] = []
        if world.size == 1:
            return
        pending: list[nn.Parameter] = []
        for p in reversed(self.parameters):
            pending.append(p)
            if sum(q.numel() * q.element_size() for q in pending) >= bucket_bytes:
                self.buckets.append(Bucket(pending))
                pending = []
        if pending:
            self.buckets.append(Bucket(pending))
        for bucket in self.buckets:
            for p in bucket.parameters:
                p.register_post_accumulate_grad_hook(bucket.arrived)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the mean over ranks of ``loss`` into this player's parameters, old ones cleared first.

        Raises:
            RuntimeError: when some parameter took no part in the loss: ranks would then disagree about what is sent.
        """
        if not self.buckets:
            for p in self.parameters:
                p.grad = None
            loss.backward()
            return
        for bucket in self.buckets:
            bucket.open()
        # dividing the scalar makes the summed gradients a mean without another pass over them
        (loss / self.world.size).backward()
        for bucket in self.buckets:
            bucket.wait()


def broadcast_from_main(networks: Iterable[nn.Module], world: World) -> None:
    """Every rank starts from rank 0's weights and buffers."""
    if world.size == 1:
        return
    with torch.no_grad():
        for network in networks:
            for tensor in [*network.parameters(), *network.buffers()]:
                dist.broadcast(tensor, src=0)


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within, the parameters of ``networks`` want no gradients: a gradient passes through them, none is made for them."""
    parameters = [p for network in networks for p in network.parameters()]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
