"""Ray Tune's schedulers, set up from a campaign's file and told what earlier launches saw."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.sections import Asha, Median, Pbt
from unbraid.trainers.search.campaign.space import Choice, Dimension, Integer, LogUniform
from unbraid.trainers.search.trials.trial import OBJECTIVE

TIME = "updates"


def scheduler_for(campaign: Campaign, past: Sequence[Trial]) -> TrialScheduler:
    """A scheduler that stands where it stood when the campaign was cut.

    Args:
        past: trials of earlier launches, whose measures are what new ones are compared with.
    """
    config = campaign.scheduler
    objective: dict[str, Any] = {"time_attr": TIME, "metric": OBJECTIVE, "mode": "max"}
    if isinstance(config, Asha):
        asha = AsyncHyperBandScheduler(
            **objective, max_t=campaign.updates, grace_period=config.grace, reduction_factor=config.reduction
        )
        return _told(asha, campaign, past)
    if isinstance(config, Median):
        median = MedianStoppingRule(**objective, grace_period=config.grace or config.every, min_samples_required=config.others)
        return _told(median, campaign, past)
    if isinstance(config, Pbt):
        random.seed(campaign.seed)  # Ray's own draws
        np.random.seed(campaign.seed)
        return _Population(
            **objective,
            perturbation_interval=config.every,
            quantile_fraction=config.quantile,
            resample_probability=config.resample,
            hyperparam_mutations={"task": {"params": {path: _domain(dim) for path, dim in campaign.space.items()}}},
            log_config=False,
            campaign=campaign,
        )
    return FIFOScheduler()


class _Population(PopulationBasedTraining):
    """Copies values and weights, but not whose they are; values driven out of the space stay at its edge."""

    def __init__(self, *arguments: Any, campaign: Campaign, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._campaign = campaign

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        params = _within(self._campaign, config["task"]["params"])
        return {"task": trial.config["task"] | {"params": params}}, operations


class _Past:
    """A trial of an earlier launch, as far as schedulers look at one."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


class _NothingRuns:
    """The controller that schedulers are told the past with."""

    def get_live_trials(self) -> list[Any]:
        return []


def _told(scheduler: TrialScheduler, campaign: Campaign, past: Iterable[Trial]) -> TrialScheduler:
    objective = campaign.scheduler_objective
    assert objective is not None
    told: Any = scheduler
    for trial in past:
        results = [
            {TIME: updates, OBJECTIVE: objective.sign * scores[objective.metric]}
            for updates, scores in trial.rungs
            if objective.metric in scores
        ]
        if not results:
            continue
        seen, controller = _Past(trial.name), _NothingRuns()
        told.on_trial_add(controller, seen)
        for result in results:
            told.on_trial_result(controller, seen, result)
        told.on_trial_complete(controller, seen, results[-1])
    return scheduler


def _domain(dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return dimension.choice
    low, high = dimension.extremes
    if isinstance(dimension, LogUniform):
        return tune.loguniform(low, high)
    return tune.randint(low, high + 1) if isinstance(dimension, Integer) else tune.uniform(low, high)


def _within(campaign: Campaign, params: dict[str, Any]) -> dict[str, Any]:
    """Values that a perturbation has driven out of the space are put back to its edge."""
    return {
        path: value if isinstance(dimension, Choice) else min(max(value, dimension.extremes[0]), dimension.extremes[1])
        for path, dimension, value in ((path, campaign.space[path], value) for path, value in params.items())
    }
