"""Ray Tune's schedulers for a campaign; the scores of earlier launches are replayed into them."""

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
from unbraid.trainers.search.trials.reports import OBJECTIVE, UPDATES


def scheduler_for(campaign: Campaign, earlier: Sequence[Trial]) -> TrialScheduler:
    """The campaign's scheduler, in the state that it had when the campaign was interrupted.

    Args:
        earlier: trials of earlier launches, with which new trials are compared.
    """
    config = campaign.scheduler
    keys: dict[str, Any] = {"time_attr": UPDATES, "metric": OBJECTIVE, "mode": "max"}
    if isinstance(config, Asha):
        asha = AsyncHyperBandScheduler(
            **keys, max_t=campaign.updates, grace_period=config.grace, reduction_factor=config.reduction
        )
        return _replayed(asha, campaign, earlier)
    if isinstance(config, Median):
        median = MedianStoppingRule(**keys, grace_period=config.grace or config.every, min_samples_required=config.others)
        return _replayed(median, campaign, earlier)
    if isinstance(config, Pbt):
        random.seed(campaign.seed)  # Ray draws from the global generators
        np.random.seed(campaign.seed)
        return _BoundedPbt(
            **keys,
            perturbation_interval=config.every,
            quantile_fraction=config.quantile,
            resample_probability=config.resample,
            hyperparam_mutations={"task": {"params": {path: _domain(dim) for path, dim in campaign.space.items()}}},
            log_config=False,
            campaign=campaign,
        )
    return FIFOScheduler()


class _BoundedPbt(PopulationBasedTraining):
    """Ray's PBT, whose exploring member keeps its own number and seed, and whose explored values stay within the space."""

    def __init__(self, *arguments: Any, campaign: Campaign, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._campaign = campaign

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        params = _clamped(self._campaign, config["task"]["params"])
        return {"task": trial.config["task"] | {"params": params}}, operations


class _ReplayedTrial:
    """A trial of an earlier launch, with the one attribute that schedulers read."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


class _IdleController:
    """Tune's controller as schedulers see it while nothing runs."""

    def get_live_trials(self) -> list[Any]:
        return []


def _replayed(scheduler: TrialScheduler, campaign: Campaign, earlier: Iterable[Trial]) -> TrialScheduler:
    """The scheduler, after it was given the scores of earlier trials as if they had just been reported."""
    objective = campaign.scheduler_objective
    assert objective is not None
    target: Any = scheduler  # whose annotations ask for Tune's own trials
    for trial in earlier:
        results = [
            {UPDATES: updates, OBJECTIVE: objective.sign * scores[objective.metric]}
            for updates, scores in trial.rungs
            if objective.metric in scores
        ]
        if not results:
            continue
        replayed, controller = _ReplayedTrial(trial.name), _IdleController()
        target.on_trial_add(controller, replayed)
        for result in results:
            target.on_trial_result(controller, replayed, result)
        target.on_trial_complete(controller, replayed, results[-1])
    return scheduler


def _domain(dimension: Dimension) -> Any:
    """A dimension in Tune's terms."""
    if isinstance(dimension, Choice):
        return dimension.choice
    low, high = dimension.extremes
    if isinstance(dimension, LogUniform):
        return tune.loguniform(low, high)
    return tune.randint(low, high + 1) if isinstance(dimension, Integer) else tune.uniform(low, high)


def _clamped(campaign: Campaign, params: dict[str, Any]) -> dict[str, Any]:
    """Values, those outside of their dimension's bounds moved to the nearest bound."""
    return {
        path: value if isinstance(dimension, Choice) else min(max(value, dimension.extremes[0]), dimension.extremes[1])
        for path, dimension, value in ((path, campaign.space[path], value) for path, value in params.items())
    }
