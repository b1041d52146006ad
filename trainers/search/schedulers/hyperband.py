"""Hyperband: successive halving in brackets of several first rungs (Li et al., "Hyperband", JMLR 2018, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.sections import HyperbandConfig, hyperband_rungs
from unbraid.trainers.search.schedulers.order import best_first
from unbraid.trainers.search.schedulers.scheduler import Resolution, Rungs, Verdict, rung_of


@dataclass(frozen=True)
class Bracket:
    """Configurations that are halved together.

    Attributes:
        first: number of its first configuration.
        size: of the bracket.
        rungs: updates at which it is halved, ascending; none where all train to their end.
    """

    first: int
    size: int
    rungs: tuple[int, ...]


def brackets(updates: int, grace: int, reduction: int) -> Iterator[Bracket]:
    """Brackets without end: from the one that halves most often to the one that never does, and again."""
    rungs = hyperband_rungs(updates, grace, reduction)
    most, first = len(rungs), 0
    for halvings in cycle(range(most, -1, -1)):
        size = math.ceil((most + 1) / (halvings + 1) * reduction**halvings)
        yield Bracket(first, size, rungs[most - halvings :])
        first += size


class Hyperband:
    """A bracket's trials pause at each of its rungs until all of them are there; the best 1/``reduction`` go on, the rest stop.

    What is decided does not depend on the order of reports. Only first seeds are halved. A bracket that the campaign's budget
    cuts short is halved as it is.
    """

    def __init__(self, config: HyperbandConfig, updates: int, rungs: Rungs) -> None:
        self._reduction = config.reduction
        self._rungs = rungs
        self._coming = brackets(updates, config.grace, config.reduction)
        self._brackets = [next(self._coming)]

    def judge(self, trial: Trial, updates: int) -> Verdict:
        """Pause at the rungs of the trial's bracket."""
        return "pause" if trial.seed == 0 and updates in self._bracket(trial.number).rungs else "continue"

    def resolve(self) -> Iterator[Resolution]:
        """The paused trials of complete rungs, by bracket."""
        known: dict[tuple[Bracket, int], set[str] | None] = {}
        for trial in sorted(self._rungs.paused.values(), key=lambda trial: trial.number):
            bracket, updates = self._bracket(trial.number), rung_of(trial)
            if (bracket, updates) not in known:
                known[bracket, updates] = self._survivors(bracket, bracket.rungs.index(updates))
            survivors = known[bracket, updates]
            if survivors is not None:
                yield Resolution(trial, goes_on=trial.name in survivors)

    def _bracket(self, number: int) -> Bracket:
        while number >= self._brackets[-1].first + self._brackets[-1].size:
            self._brackets.append(next(self._coming))
        return next(b for b in reversed(self._brackets) if number >= b.first)

    def _survivors(self, bracket: Bracket, rung: int) -> set[str] | None:
        """Names of the trials that go on after a rung; None while it is not complete."""
        known = self._rungs.configurations[bracket.first : bracket.first + bracket.size]
        if len(known) < bracket.size and not self._rungs.closed:
            return None
        trials = {configuration.trials[0].name: configuration.trials[0] for configuration in known}
        reaching = set(trials)
        for index, updates in enumerate(bracket.rungs[: rung + 1]):
            points = {name: point for name, point in self._rungs.at(updates).items() if name in reaching}
            if any(name not in points and not trials[name].ended for name in reaching):
                return None
            share = max(1, bracket.size // self._reduction ** (index + 1))
            reaching = set(best_first(points)[:share])
        return reaching
