"""What a campaign has tried and found: configurations, their trials, and the scores that follow from them. No files, no Ray."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.sections import Objective
from unbraid.trainers.search.campaign.space import Params

State = Literal["waiting", "running", "finished", "stopped", "failed"]
"""``stopped`` by the scheduler; ``failed`` has a cause; the last three are final."""
FINAL: tuple[State, ...] = ("finished", "stopped", "failed")
Scores = Mapping[str, float]


@dataclass
class Trial:
    """One run of training: a configuration with one seed.

    Attributes:
        seed: its number within the configuration, from 0.
        cause: why it failed, or which rung stopped it.
        updates: made so far.
        rungs: (updates, scores) of each time that it was measured, ascending.
        seconds: of training, all launches together.
    """

    number: int
    seed: int
    state: State = "waiting"
    cause: str = ""
    updates: int = 0
    rungs: list[tuple[int, Scores]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Of its run: ``0007-s1``."""
        return trial_name(self.number, self.seed)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in FINAL

    @property
    def scores(self) -> Scores:
        """Of the last measure."""
        return self.rungs[-1][1] if self.rungs else {}


@dataclass
class Configuration:
    """One point of the space and its trials, by seed.

    Attributes:
        params: its values; of a member of a population those that it took over last.
        centrality: agreement of each seed's model with the others', where it was asked for and is known.
        given_up: it gets no more seeds.
    """

    number: int
    params: Params
    trials: dict[int, Trial] = field(default_factory=dict)
    centrality: dict[int, float] | None = None
    given_up: bool = False

    def score(self, objective: Objective) -> float | None:
        """The median over seeds; a failed seed counts as the worst there is. None while nothing is known."""
        if objective.metric == CENTRALITY:
            return None if not self.centrality else statistics.fmean(self.centrality.values())
        return median_score(self.trials.values(), objective)

    def scores(self, campaign: Campaign) -> list[float] | None:
        """Of all objectives, in their order; None while one is not known."""
        scores = [self.score(objective) for objective in campaign.objectives]
        known = [score for score in scores if score is not None]
        return known if len(known) == len(scores) else None

    @property
    def ended(self) -> bool:
        """Whether all trials that it has are over."""
        return bool(self.trials) and all(trial.ended for trial in self.trials.values())

    def complete(self, campaign: Campaign) -> bool:
        """Whether nothing more will come of it: all its seeds are over, and judged where that is an objective."""
        if not self.ended or (len(self.trials) < campaign.seeds.count and not self.given_up):
            return False
        return not wants_judgement(self, campaign)

    @property
    def was_cut(self) -> bool:
        """Whether a trial was stopped or failed, so that the score is not that of full training."""
        return self.given_up or any(trial.state in ("stopped", "failed") for trial in self.trials.values())

    @property
    def updates(self) -> int:
        """Of its longest trial."""
        return max((trial.updates for trial in self.trials.values()), default=0)

    def best_trial(self, campaign: Campaign) -> Trial | None:
        """The one to keep: most central where that is an objective, else the one with the median score, failed ones aside."""
        sound = [trial for trial in self.trials.values() if trial.state != "failed" and trial.rungs]
        if not sound:
            return None
        if CENTRALITY in campaign.metrics and self.centrality:
            known = self.centrality
            return max(sound, key=lambda trial: known.get(trial.seed, -math.inf))
        first = campaign.objectives[0]
        order = sorted(sound, key=lambda trial: first.sign * trial.scores.get(first.metric, -math.inf * first.sign))
        return order[(len(order) - 1) // 2]


def trial_name(number: int, seed: int) -> str:
    """``0007-s1``."""
    return f"{number:04d}-s{seed}"


def wants_judgement(configuration: Configuration, campaign: Campaign) -> bool:
    """Whether its models, all of them trained to the end, are to be compared and have not been."""
    if CENTRALITY not in campaign.metrics or configuration.centrality is not None or configuration.was_cut:
        return False
    return configuration.ended and len(configuration.trials) == campaign.seeds.count


def median_score(trials: Iterable[Trial], objective: Objective) -> float | None:
    """Over the trials that were measured; a failed one counts as the worst."""
    values = [
        -math.inf if trial.state == "failed" else objective.sign * trial.scores[objective.metric]
        for trial in trials
        if trial.state == "failed" or objective.metric in trial.scores
    ]
    if not values:
        return None
    low, high = statistics.median_low(values), statistics.median_high(values)
    return objective.sign * (low if math.isinf(low) else (low + high) / 2)
