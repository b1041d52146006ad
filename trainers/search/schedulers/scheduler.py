"""What a plan asks of a scheduler, and the scores that schedulers compare."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Descent, Trial
from unbraid.trainers.search.campaign.pareto import Point, number
from unbraid.trainers.search.schedulers.order import best_first

Verdict = Literal["continue", "stop", "pause"]
"""What a trial does after an evaluation; one that is paused leaves its place and waits for a :class:`Resolution`."""


@dataclass(frozen=True)
class Resolution:
    """What becomes of a paused trial.

    Attributes:
        goes_on: whether it trains on; else it is stopped.
        descent: the state that it copies before it goes on; None keeps its own.
    """

    trial: Trial
    goes_on: bool
    descent: Descent | None = None


class Scheduler(Protocol):
    """Decides from the scores of all trials. It keeps nothing that does not follow from the campaign's history."""

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """What a trial does after its evaluation at these updates, which :class:`Rungs` has taken."""
        ...

    def resolve(self) -> Iterator[Resolution]:
        """What becomes of the paused trials of which that is decided now, the most urgent first."""
        ...


class PausesNothing:
    """The part of a scheduler that has no paused trials."""

    def resolve(self) -> Iterator[Resolution]:
        """Nothing: no trial is paused."""
        yield from ()


class Rungs:
    """The scores of all trials at each rung, by updates.

    Args:
        configurations: of the campaign, which grow while it runs.

    Attributes:
        updates: of the rungs, ascending.
        trials: that were evaluated at a rung, by name.
        paused: those that wait for the scheduler, by name; changed by :meth:`pause` and :meth:`release`.
        closed: whether the campaign gets no further configuration.
        idle: whether nothing trains or is about to.
    """

    def __init__(self, campaign: Campaign, configurations: list[Configuration]) -> None:
        self.configurations = configurations
        self.updates = campaign.rungs
        self.trials: dict[str, Trial] = {}
        self.paused: dict[str, Trial] = {}
        self.closed = self.idle = False
        self._objectives = campaign.scheduler_objectives
        self._points: dict[int, dict[str, Point]] = {at: {} for at in self.updates}
        self._orders: dict[int, list[tuple[float, str]]] = {at: [] for at in self.updates}
        self._paused: dict[int, list[tuple[float, str]]] = {at: [] for at in self.updates}
        for trial in (trial for configuration in configurations for trial in configuration.trials.values()):
            for updates, _ in trial.rungs:
                self.add(trial, updates)

    def add(self, trial: Trial, updates: int) -> bool:
        """Take a trial's evaluation at these updates; whether it is one at a rung."""
        scores = next((scores for at, scores in reversed(trial.rungs) if at == updates), {})
        if updates not in self._points or not all(o.metric in scores for o in self._objectives):
            return False
        points, order = self._points[updates], self._orders[updates]
        before, point = points.get(trial.name), tuple(o.sign * scores[o.metric] for o in self._objectives)
        self.trials[trial.name] = trial
        points[trial.name] = point
        if before is not None:
            del order[bisect_left(order, _key(trial.name, before))]
        insort(order, _key(trial.name, point))
        return True

    def at(self, updates: int) -> Mapping[str, Point]:
        """The scores of all trials that were evaluated at these updates, by their names."""
        return self._points[updates]

    def pause(self, trial: Trial) -> None:
        """Let a trial wait at the rung of its newest evaluation."""
        self.paused[trial.name] = trial
        insort(self._paused[rung_of(trial)], _key(trial.name, self._points[rung_of(trial)][trial.name]))

    def release(self, trial: Trial) -> None:
        """Take a trial off its rung, because it goes on or ends."""
        del self.paused[trial.name]
        order = self._paused[rung_of(trial)]
        del order[bisect_left(order, _key(trial.name, self._points[rung_of(trial)][trial.name]))]

    def paused_among_best(self, updates: int, count: int) -> Iterator[Trial]:
        """The trials that wait at a rung and are among its best, best first."""
        if len(self._objectives) > 1:
            yield from (self.paused[name] for name in self.best(updates, count) if name in self._waiting_at(updates))
            return
        for key in list(self._paused[updates][:count]):
            if bisect_left(self._orders[updates], key) >= count:
                return
            yield self.paused[key[1]]

    def _waiting_at(self, updates: int) -> set[str]:
        return {name for _, name in self._paused[updates]}

    def best(self, updates: int, count: int) -> list[str]:
        """The names of the best trials at a rung, best first."""
        if len(self._objectives) > 1:
            return best_first(self._points[updates])[:count]
        return [name for _, name in self._orders[updates][:count]]

    def place(self, updates: int, name: str) -> int:
        """The place of a trial at a rung; 0 is the best."""
        if len(self._objectives) > 1:
            return best_first(self._points[updates]).index(name)
        return bisect_left(self._orders[updates], _key(name, self._points[updates][name]))


def _key(name: str, point: Point) -> tuple[float, str]:
    """By which trials are kept in order, as :func:`best_first` orders them by one score."""
    return -number(point[0]), name


def rung_of(trial: Trial) -> int:
    """The updates of a trial's newest evaluation; 0 before the first."""
    return trial.rungs[-1][0] if trial.rungs else 0
