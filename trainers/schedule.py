"""How learning rates change over a run, and with them the averages of weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from trainers.config import Section

if TYPE_CHECKING:
    from torch.optim import Optimizer


def set_learning_rates(rates: Iterable[tuple[Optimizer, float]], factor: float) -> None:
    """Each optimiser's rate times ``factor``."""
    for optimizer, rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def linear_decay(updates: int, budget: int, decay_from: float) -> float:
    """1, then falling linearly to 0 from the share ``decay_from`` of the budget on; with 1 never."""
    done = updates / budget
    return 1.0 if done < decay_from else (1 - done) / (1 - decay_from)


def halving(updates: int, every: int) -> float:
    """Halved every so many updates; with 0 never."""
    return 0.5 ** (updates // every) if every else 1.0


class TrainingConfig(Section):
    """How learning rates change, and the moving averages of weights that pictures, measures and later stages use.

    Attributes:
        halve_every: updates between halvings of the rates; 0 is never.
        decay_from: share of ``run.updates`` from which on rates fall linearly to zero; 1 is never.
        ema_decay: of the averages in an update; they are taken every ``ema_every``.
    """

    halve_every: int = Field(0, ge=0)
    decay_from: float = Field(1.0, ge=0, le=1)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    ema_every: int = Field(10, ge=1)

    def rate_factor(self, updates: int, budget: int) -> float:
        """What rates are multiplied by after so many of all updates."""
        return halving(updates, self.halve_every) * linear_decay(updates, budget, self.decay_from)
