"""What all systems' updates have in common: players, random numbers, learning rates, the count of updates."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.sections import ScheduleConfig
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.player import Player
from unbraid.trainers.step.precision import autocast, resolve_precision
from unbraid.trainers.step.schedule import is_due, rate_factor


class Adversaries:
    """Players that learn together, one update at a time.

    Each system derives from this. Its ``step`` begins with :meth:`begin_update` and returns :meth:`end_update`, with
    the updates of its players between, as its paper's algorithm lists them.

    Args:
        players: in the order in which checkpoints list them.
        schedule: of learning rates and moving averages.
        fixed: networks that are not trained and travel in checkpoints all the same, by name.

    Attributes:
        updates: made so far; a checkpoint restores it.
        random: the source of every random number that an update draws, see :class:`RandomSource`.
    """

    def __init__(
        self,
        config: SystemConfig,
        players: tuple[Player[Any], ...],
        schedule: ScheduleConfig,
        device: torch.device,
        world: World,
        fixed: dict[str, nn.Module] | None = None,
    ) -> None:
        self.device = device
        self.players = players
        self.updates = 0
        self.random: RandomSource = world.random(config.run.seed, device)
        self._budget = config.run.updates
        self._log_every = config.run.log_every
        self._schedule = schedule
        self._lowered: tuple[int, ...] = ()
        self._lowered_by = 1.0
        self._fixed = fixed or {}
        self._dtype = resolve_precision(config.run.precision, device)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What checkpoints store, by name; moving averages included."""
        every: dict[str, nn.Module] = {}
        for player in self.players:
            every |= player.networks
        return every | self._fixed

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """One a player, by the player's name."""
        return {player.name: player.optimizer for player in self.players}

    def lower_rates(self, steps: Sequence[int], factor: float) -> None:
        """Multiply the learning rates by a factor once more from each of these steps on: to those the run has gone back."""
        self._lowered, self._lowered_by = tuple(steps), factor

    def begin_update(self) -> None:
        """Seed the random numbers of this update, set its learning rates, and take norms where its scalars are read."""
        self.random.seek(self.updates)
        factor = rate_factor(self._schedule, self.updates, self._budget)
        factor *= self._lowered_by ** sum(step <= self.updates for step in self._lowered)
        is_read = is_due(self.updates + 1, self._log_every) or self.updates + 1 == self._budget
        for player in self.players:
            player.scale_rate(factor)
            player.takes_norms, player.norms = is_read, {}

    def end_update(self, scalars: dict[str, Tensor]) -> dict[str, Tensor]:
        """Count the update, and move the averages that are due.

        Args:
            scalars: of the update.

        Returns:
            The same, with the players' norms where these were taken.
        """
        self.updates += 1
        norms: dict[str, Tensor] = {}
        for player in self.players:
            player.update_ema(self.updates, self._schedule)
            norms |= player.norms
        return scalars | norms

    def autocast(self) -> AbstractContextManager[object]:
        """Forward passes within compute in the type that ``run.precision`` chose."""
        return autocast(self.device, self._dtype)
