"""What a campaign has tried and found: configurations, their trials, and their scores. No files, no Ray."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from unbraid.datasets.untrusted.documents import Count, Name
from unbraid.trainers.config.schema import differences
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.sections import Objective
from unbraid.trainers.search.campaign.space import Params, holds, lies_within, values_of

State = Literal["waiting", "running", "paused", "finished", "stopped", "failed"]
"""``paused`` and ``stopped`` are by the scheduler; ``failed`` has a cause; the last three are final."""
FINAL: tuple[State, ...] = ("finished", "stopped", "failed")
BY_HAND = "by hand"
"""Cause of the end of a trial that a person has stopped; one that still runs and has it is to be stopped."""
Scores = Mapping[str, float]
"""Measures by name."""


@dataclass(frozen=True)
class Descent:
    """That a member of a population copied a donor's state.

    Attributes:
        updates: of the donor's state that was copied.
        donor: name of the trial that it was copied from.
        params: the member's values from then on.
    """

    updates: Count
    donor: Name
    params: dict[Name, JsonValue]


@dataclass
class Trial:
    """One training run: a configuration with one seed.

    Attributes:
        number: of its configuration.
        seed: number of the seed within the configuration, from 0.
        cause: why it failed, or which rung stopped it.
        updates: made so far.
        rungs: (updates, scores) of each evaluation, ascending.
        seconds: of training, all launches together.
        pinned: whether the scheduler lets it train to its end, and it keeps its checkpoints.
    """

    number: int
    seed: int
    state: State = "waiting"
    cause: str = ""
    updates: int = 0
    rungs: list[tuple[int, Scores]] = field(default_factory=list)
    seconds: float = 0.0
    pinned: bool = False

    @property
    def name(self) -> str:
        """The name of its run, see :func:`trial_name`."""
        return trial_name(self.number, self.seed)

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL

    @property
    def scores(self) -> Scores:
        """The scores of the newest evaluation; empty before the first."""
        return self.rungs[-1][1] if self.rungs else {}


@dataclass
class Configuration:
    """One point of the space and its trials, by seed.

    Attributes:
        start: the values that it was proposed with.
        descents: of a member of a population, ascending by updates.
        centrality: of each seed's model, its mean agreement with the other models; None before they were compared, empty where
            the comparison failed.
        given_up: whether it gets no further seeds.
        revision: of the campaign's space for which it was proposed.
        asked: whether a person asked for it, and the searcher did not propose it.
    """

    number: int
    start: Params
    trials: dict[int, Trial] = field(default_factory=dict)
    centrality: dict[int, float] | None = None
    given_up: bool = False
    descents: list[Descent] = field(default_factory=list)
    revision: int = 0
    asked: bool = False
    _point: tuple[Campaign | None, Params | None] = field(default=(None, None), repr=False, compare=False)

    def point(self, campaign: Campaign) -> Params | None:
        """Its values as a point of the campaign's present space; None where it lies outside of it."""
        if self.revision == campaign.revision:
            return self.params
        if self._point[0] is not campaign:
            self._point = campaign, present_point(campaign, self.revision, self.params)
        return self._point[1]

    @property
    def params(self) -> Params:
        """Its values; of a member of a population, those that it uses now."""
        return dict(self.descents[-1].params) if self.descents else self.start

    def params_at(self, updates: int) -> Params:
        """The values that it trained with up to these updates."""
        before = [descent for descent in self.descents if descent.updates < updates]
        return dict(before[-1].params) if before else self.start

    def score(self, objective: Objective) -> float | None:
        """The median over seeds, in which a failed seed counts as the worst possible; None while nothing is known."""
        if objective.metric == CENTRALITY:
            return None if not self.centrality else statistics.fmean(self.centrality.values())
        return median_score(self.trials.values(), objective)

    def scores(self, campaign: Campaign) -> list[float] | None:
        """The scores of all objectives, in the campaign's order; None while one of them is unknown."""
        scores = [self.score(objective) for objective in campaign.objectives]
        known = [score for score in scores if score is not None]
        return known if len(known) == len(scores) else None

    @property
    def ended(self) -> bool:
        """Whether it has trials and all of them have ended; further seeds may follow."""
        return bool(self.trials) and all(trial.ended for trial in self.trials.values())

    def is_complete(self, campaign: Campaign) -> bool:
        """Whether all its seeds have ended and, where centrality is an objective, its models have been compared."""
        if not self.ended or (len(self.trials) < campaign.seeds.count and not self.given_up):
            return False
        return not self.needs_comparison(campaign)

    def needs_comparison(self, campaign: Campaign) -> bool:
        """Whether its models must be compared with each other next: centrality is an objective and all seeds have finished."""
        if CENTRALITY not in campaign.metrics or self.centrality is not None or self.is_partial:
            return False
        return self.ended and len(self.trials) >= campaign.seeds.count

    @property
    def is_partial(self) -> bool:
        """Whether it was given up, or a trial was paused, stopped or failed, so that its score is not one of full training."""
        return self.given_up or any(trial.state in ("paused", "stopped", "failed") for trial in self.trials.values())

    @property
    def rests(self) -> bool:
        """Whether none of its trials trains or is about to."""
        return bool(self.trials) and all(trial.ended or trial.state == "paused" for trial in self.trials.values())

    @property
    def updates(self) -> int:
        """Updates of its longest trial."""
        return max((trial.updates for trial in self.trials.values()), default=0)

    def best_trial(self, campaign: Campaign) -> Trial | None:
        """The trial whose checkpoints are kept and exported, failed ones excepted; None when no trial has a score.

        It is the most central one where centrality is an objective, else the one with the median score.
        """
        scored = [trial for trial in self.trials.values() if trial.state != "failed" and trial.rungs]
        if not scored:
            return None
        if CENTRALITY in campaign.metrics and self.centrality:
            known = self.centrality
            return max(scored, key=lambda trial: known.get(trial.seed, -math.inf))
        first = campaign.objectives[0]
        order = sorted(scored, key=lambda trial: first.sign * trial.scores.get(first.metric, -math.inf * first.sign))
        return order[(len(order) - 1) // 2]


def present_point(campaign: Campaign, revision: int, params: Params) -> Params | None:
    """A point of an earlier space as the point of the present one that gives the very same trials; None where there is none."""
    try:
        then = campaign.at(revision).trial_config(params, 0, "")
        point = values_of(campaign.space, then.model_dump(mode="json"))
        if not holds(campaign.space, point) or not all(lies_within(campaign.space[path], point[path]) for path in point):
            return None
        return None if differences(then, campaign.trial_config(point, 0, "")) else point
    except ConfigError:
        return None


def trial_name(number: int, seed: int) -> str:
    """The name of a trial's run, such as ``0007-s1``: configuration 7, seed 1."""
    return f"{number:04d}-s{seed}"


def median_score(trials: Iterable[Trial], objective: Objective) -> float | None:
    """The median over evaluated trials, in which a failed trial counts as the worst possible; None when there are none."""
    values = [
        -math.inf if trial.state == "failed" else objective.sign * trial.scores[objective.metric]
        for trial in trials
        if trial.state == "failed" or objective.metric in trial.scores
    ]
    if not values:
        return None
    low, high = statistics.median_low(values), statistics.median_high(values)
    return objective.sign * (low if math.isinf(low) else (low + high) / 2)
