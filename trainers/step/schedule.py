"""What is due after how many updates, and how learning rates change over a run."""

from __future__ import annotations

from unbraid.trainers.config.sections import ScheduleConfig


def is_due(step: int, every: int) -> bool:
    """Whether something that is done every so many updates is done now; 0 is never."""
    return every > 0 and step % every == 0


def linear_decay(updates: int, budget: int, decay_from: float) -> float:
    """1, then falling linearly to 0 from the share ``decay_from`` of the budget on; with 1 never."""
    done = updates / budget
    return 1.0 if done < decay_from else (1 - done) / (1 - decay_from)


def halving(updates: int, every: int) -> float:
    """Halved every so many updates; with 0 never."""
    return 0.5 ** (updates // every) if every else 1.0


def rate_factor(schedule: ScheduleConfig, updates: int, budget: int) -> float:
    """The factor on all learning rates after so many of the budget's updates."""
    return halving(updates, schedule.halve_every) * linear_decay(updates, budget, schedule.decay_from)
