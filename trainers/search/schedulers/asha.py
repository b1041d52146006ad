"""Asynchronous successive halving (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020)."""

from __future__ import annotations

from collections.abc import Iterator

from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.sections import Asha
from unbraid.trainers.search.schedulers.scheduler import PausesNothing, Resolution, Rungs, Verdict


class AshaStopping(PausesNothing):
    """At each rung a trial stops unless it is among the best 1/``reduction`` of those that have reached the rung so far.

    Nothing pauses, so early trials are compared with few others and go on; what is decided depends on the order of reports.
    """

    def __init__(self, config: Asha, rungs: Rungs) -> None:
        self._config = config
        self._rungs = rungs

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """Stop or continue."""
        share = max(1, len(self._rungs.at(updates)) // self._config.reduction)
        return "continue" if self._rungs.place(updates, trial.name) < share else "stop"


class AshaPromotion:
    """Every trial pauses at each rung; it goes on once it is among the best 1/``reduction`` there (algorithm 2 of the paper).

    Until the end of the campaign each paused trial may still be promoted. The best share of a complete rung is promoted in any
    order of reports; beside it, only those that were among the best share when fewer had come.
    """

    def __init__(self, config: Asha, rungs: Rungs) -> None:
        self._config = config
        self._rungs = rungs

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """Pause."""
        return "pause"

    def resolve(self) -> Iterator[Resolution]:
        """The promotable trials of the highest rung first."""
        for updates in reversed(self._rungs.updates):
            share = len(self._rungs.at(updates)) // self._config.reduction
            for trial in self._rungs.paused_among_best(updates, share):
                yield Resolution(trial, goes_on=True)
        if self._rungs.closed and self._rungs.idle:
            yield from self._last()

    def _last(self) -> Iterator[Resolution]:
        """The best trial of the highest rung that has one: a campaign of few trials ends with a whole one too."""
        highest = next((at for at in reversed(self._rungs.updates) if self._rungs.at(at)), None)
        if highest is not None:
            yield from (Resolution(trial, goes_on=True) for trial in self._rungs.paused_among_best(highest, 1))
