"""A player of an adversarial game: its network, its optimiser, its learning rate, its moving average.

DDP expects one forward call for each backward, and averages every parameter that it wraps. So a player is wrapped as one module
whose forward makes all that its loss needs; in another player's phase it is frozen and called un-wrapped.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer, RMSprop

from unbraid.models.ema import ema_copy, update_ema
from unbraid.models.normalization import synchronise_batch_norm
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.sections import ScheduleConfig
from unbraid.trainers.step.distributed import World

Network = TypeVar("Network", bound=nn.Module)


class Player(Generic[Network]):
    """A network that one optimiser trains.

    Args:
        name: of the player, in checkpoints and learning rates.
        network: on its device, with its first weights.
        optimizer: of all the network's parameters; its learning rate is the one that schedules scale.
        ema: a copy that follows the network as a moving average; None keeps none. See :func:`ema_copy`.
        world: with several ranks the network's gradients are averaged over them.

    Attributes:
        network: as it is, to be called in other players' phases and in evaluation.
        takes_norms: whether :meth:`update` notes its norms, which costs three passes over the weights and a copy of them.
        norms: of the last update, where they were taken, on the device: ``gradient_norm/NAME`` and ``update_norm/NAME``, the
            Euclidean norms of all weights' gradient, averaged over ranks, and of what the optimiser then added to them.
    """

    def __init__(self, name: str, network: Network, optimizer: Optimizer, ema: Network | None, world: World) -> None:
        self.name = name
        self.network = network
        self.optimizer = optimizer
        self._ema = ema
        self._world = world
        self._wrapped = _data_parallel(network, world)
        self._rates: list[float] = [group["lr"] for group in optimizer.param_groups]
        self.takes_norms = False
        self.norms: dict[str, Tensor] = {}

    def __call__(self, *inputs: Any) -> Any:
        """The network's forward pass, whose gradients are averaged over ranks by the backward pass."""
        return self._wrapped(*inputs)

    @property
    def ema(self) -> Network:
        """The moving average of the network's weights, in evaluation mode."""
        assert self._ema is not None, f"{self.name} keeps no moving average"
        return self._ema

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What a checkpoint stores of this player, by name."""
        named: dict[str, nn.Module] = {self.name: self.network}
        return named if self._ema is None else named | {f"{self.name}_ema": self._ema}

    def update(self, loss: Tensor) -> None:
        """One step of the optimiser on a loss: the mean over this rank's samples."""
        self.optimizer.zero_grad()
        self._world.backward(loss)
        if self.takes_norms:
            self._step_with_norms()
        else:
            self.optimizer.step()

    def _step_with_norms(self) -> None:
        """A step of the optimiser, and its norms."""
        trained = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        before = [parameter.detach().clone() for parameter in trained]
        gradient = _norm([parameter.grad for parameter in trained if parameter.grad is not None])
        self.optimizer.step()
        change = torch._foreach_sub([parameter.detach() for parameter in trained], before)
        self.norms = {f"gradient_norm/{self.name}": gradient, f"update_norm/{self.name}": _norm(change)}

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, the network's parameters get no gradients; a gradient passes through them to other players."""
        parameters = list(self.network.parameters())
        for parameter in parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    def scale_rate(self, factor: float) -> None:
        """Set the learning rate to ``factor`` times its first value."""
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def update_ema(self, updates: int, schedule: ScheduleConfig) -> None:
        """Move the average towards the network where it is due after so many updates."""
        if self._ema is not None:
            update_ema(self._ema, self.network, updates, schedule.ema_decay, schedule.ema_every)


def adam_player(
    name: str, network: Network, rate: float, betas: tuple[float, float], config: SystemConfig, world: World, ema: bool = False
) -> Player[Network]:
    """A player that Adam trains.

    Args:
        ema: whether it keeps a moving average.
    """
    prepared, average = _prepared(network, config, world, ema)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    return Player(name, prepared, Adam(prepared.parameters(), rate, betas, fused=fused), average, world)


def rmsprop_player(
    name: str, network: Network, rate: float, config: SystemConfig, world: World, ema: bool = False
) -> Player[Network]:
    """A player that RMSProp trains with TensorFlow's constants, which DPIG's reference code uses, see :func:`adam_player`.

    The mean square forgets a tenth in each update (torch's default is a hundredth). TensorFlow adds 1e-10 to it under the root,
    torch adds its ε, here the root of that, to the root: gradients below 1e-5 make steps that are smaller than the rate.
    """
    prepared, average = _prepared(network, config, world, ema)
    return Player(name, prepared, RMSprop(prepared.parameters(), rate, alpha=0.9, eps=1e-5), average, world)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all elements together, in float32 and on their device."""
    return get_total_norm(tensors).float()


def _prepared(network: Network, config: SystemConfig, world: World, ema: bool) -> tuple[Network, Network | None]:
    """The network with the batch statistics that ``run.batch_norm`` asks for, and its moving average with plain ones."""
    average = ema_copy(network) if ema else None
    if config.run.batch_norm == "global" and world.size > 1:
        synchronise_batch_norm(network)
    return network, average


def _data_parallel(network: nn.Module, world: World) -> nn.Module:
    """``network`` itself, or with several ranks DDP around it, which also gives every rank the weights of rank 0.

    Buffers stay each rank's own: they are batch statistics that training does not read.
    """
    if world.size == 1:
        return network
    with warnings.catch_warnings():
        # torch 2.13 warns of a new name for broadcast_buffers that torch 2.9 does not know
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
        return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)
