"""The median stopping rule (Golovin et al., "Google Vizier", KDD 2017, section 3.2.2)."""

from __future__ import annotations

import statistics

from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.pareto import number
from unbraid.trainers.search.campaign.sections import Median
from unbraid.trainers.search.schedulers.scheduler import PausesNothing, Rungs, Verdict


class MedianStopping(PausesNothing):
    """A trial stops when its best score so far is worse than the median of the other trials' mean scores so far."""

    def __init__(self, config: Median, rungs: Rungs) -> None:
        self._config = config
        self._rungs = rungs

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """Stop or continue; depends on which trials have reported before."""
        if updates < self._config.grace:
            return "continue"
        others = [self._mean(name, updates) for name in self._rungs.at(updates) if name != trial.name]
        if len(others) < self._config.others:
            return "continue"
        best = max(number(self._rungs.at(at)[trial.name][0]) for at in self._until(trial.name, updates))
        return "stop" if best < statistics.median(others) else "continue"

    def _mean(self, name: str, updates: int) -> float:
        return statistics.fmean(number(self._rungs.at(at)[name][0]) for at in self._until(name, updates))

    def _until(self, name: str, updates: int) -> list[int]:
        """The rungs up to these updates at which a trial was evaluated, from ``grace`` on."""
        return [at for at in self._rungs.updates if self._config.grace <= at <= updates and name in self._rungs.at(at)]
