"""Population-based training in generations (Jaderberg et al., "Population based training of neural networks", 2017).

All members pause after each ``every`` updates. Once all are there, the worst share exploits the best share (truncation
selection, section 4.1.1 of the paper) and explores. So what a member copies depends on scores and the campaign's seed alone,
and not on which process was faster; the price is that fast members wait.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Descent, Trial
from unbraid.trainers.search.campaign.pareto import Point
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.campaign.space import Choice, Dimension, Integer, Params, RandomSuggester, Space, sample
from unbraid.trainers.search.schedulers.order import best_first
from unbraid.trainers.search.schedulers.scheduler import Resolution, Rungs, Verdict, rung_of

FACTORS = (0.8, 1.2)
"""By one of which exploring multiplies a value (section 4.1.1)."""


class Population:
    """Generations of the whole population, see the module."""

    def __init__(self, config: Pbt, campaign: Campaign, rungs: Rungs) -> None:
        self._config = config
        self._campaign = campaign
        self._rungs = rungs

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """Pause."""
        return "pause"

    def resolve(self) -> Iterator[Resolution]:
        """The members of a generation that is complete, by number; some with the state that they copy."""
        waiting = sorted(self._rungs.paused.values(), key=lambda trial: trial.number)
        for updates in sorted({rung_of(trial) for trial in waiting}):
            if not self._is_complete(updates):
                return
            donors = exchanges(self._rungs.at(updates), self._config.quantile, self._random("exploit", updates))
            for trial in waiting:
                if rung_of(trial) == updates:
                    yield Resolution(trial, goes_on=True, descent=self._descent(trial, updates, donors))

    def _is_complete(self, updates: int) -> bool:
        """Whether all members exist, and each has been evaluated at these updates or has ended before."""
        members = [configuration.trials[0] for configuration in self._rungs.configurations]
        there = self._rungs.at(updates)
        return self._rungs.closed and all(member.ended or member.name in there for member in members)

    def _descent(self, trial: Trial, updates: int, donors: Mapping[str, str]) -> Descent | None:
        configuration = self._rungs.configurations[trial.number]
        if configuration.descents and configuration.descents[-1].updates == updates:
            return configuration.descents[-1]  # decided in an earlier launch, and perhaps not copied yet
        donor = donors.get(trial.name)
        if donor is None:
            return None
        before = self._rungs.configurations[self._rungs.trials[donor].number].params_at(updates)
        source = self._random(f"explore {trial.number}", updates)
        return Descent(updates, donor, explored(self._campaign.space, before, self._config.resample, source))

    def _random(self, purpose: str, updates: int) -> random.Random:
        return random.Random(f"{self._campaign.seed}/{purpose}/{updates}")


def exchanges(points: Mapping[str, Point], quantile: float, source: random.Random) -> dict[str, str]:
    """The donor of each member of the worst ``quantile``, one of the best ``quantile``; at most half of all exploit."""
    order = best_first(points)
    count = min(math.ceil(quantile * len(order)), len(order) // 2)
    return {name: source.choice(order[:count]) for name in order[len(order) - count :]} if count else {}


def explored(space: Space, params: Mapping[str, object], resample: float, source: random.Random) -> Params:
    """Values near those of a donor: each is drawn anew with probability ``resample``, and changed by a factor otherwise.

    A choice moves to one beside it. Values stay within their dimensions.
    """
    fresh = sample(space, RandomSuggester(source))
    found: Params = {}
    for path, value in params.items():
        found[path] = fresh[path] if source.random() < resample else _changed(space[path], value, source)
    return found


def _changed(dimension: Dimension, value: object, source: random.Random) -> object:
    if isinstance(dimension, Choice):
        index = dimension.choice.index(value) + source.choice((-1, 1))
        return dimension.choice[min(max(index, 0), len(dimension.choice) - 1)]
    assert isinstance(value, int | float)
    low, high = dimension.extremes
    moved = min(max(value * source.choice(FACTORS), low), high)
    return round(moved) if isinstance(dimension, Integer) else moved
