"""What the loop knows of a system, and all that it knows."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.step.distributed import World

Batch = Mapping[str, Tensor]


class System(Protocol):
    """A set of adversaries that learn together.

    Attributes:
        networks: what checkpoints store, by name; moving averages included.
        optimizers: one a player.
        random: the source of every random number that an update draws.
        updates: made so far; a checkpoint restores it.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    random: RandomSource
    updates: int

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of every player on this rank's share of a batch.

        Args:
            batch: ``image`` (B, C, H, W) uint8 on the device, and whatever else its data set holds.

        Returns:
            Detached scalars on the device, by metric name.
        """
        ...

    def preview(self) -> dict[str, Tensor]:
        """Named picture grids (3, H, W) uint8 at fixed inputs."""
        ...

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Estimate, on some training images, what measures need and updates do not; before :meth:`evaluate`."""
        ...

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """This system's own measures, on batches of the evaluation split."""
        ...

    def figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Pictures that explain the measures, for the report; as :meth:`preview`."""
        ...


def build_system(config: SystemConfig, device: torch.device, world: World) -> System:
    """The system that ``config.system`` names, with fresh weights from ``config.run.seed``, the same on every rank."""
    module: Any = import_module(f"unbraid.trainers.systems.{config.system}.system")
    torch.manual_seed(config.run.seed)
    system: System = module.build(config, device, world)
    return system
