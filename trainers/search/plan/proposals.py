"""The proposal of the next point of the space: a function of the campaign, the configuration's number, and what is known.

No random generator is kept between two calls, so a resumed campaign proposes what an uninterrupted one would have proposed.
"""

from __future__ import annotations

import logging
import math
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.space import Choice, Integer, LogUniform, Params, RandomSuggester, Uniform, grid, sample

if TYPE_CHECKING:
    import optuna


def propose(campaign: Campaign, number: int, known: Sequence[Configuration]) -> Params | None:
    """Values for configuration ``number``; None when the grid has no more points.

    Args:
        known: all configurations that were proposed so far.
    """
    starts = [point for point in campaign.start_from if not isinstance(point, str)]
    if number < len(starts):
        return starts[number]
    if campaign.searcher.kind == "grid":
        points = [point for point in grid(campaign.space) if point not in starts]
        return points[number - len(starts)] if number - len(starts) < len(points) else None
    if campaign.searcher.kind == "random" or number < campaign.searcher.startup:
        return sample(campaign.space, RandomSuggester(random.Random(f"{campaign.seed}/{number}")))
    params = sample(campaign.space, study_of(campaign, known, _seed(campaign, number)).ask())
    # once TPE has converged it proposes the same point again and again
    if any(params == configuration.params for configuration in known):
        params = sample(campaign.space, RandomSuggester(random.Random(f"{campaign.seed}/{number}")))
    return params


def silence_optuna() -> None:
    """Turn off Optuna's line of log for each trial, and its warnings about experimental options."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def study_of(campaign: Campaign, known: Sequence[Configuration], seed: int = 0) -> optuna.Study:
    """All configurations as an Optuna study, from which its samplers learn, and of which its importances and plots are made.

    A partial configuration is a pruned trial with its score at the updates that it reached; a failed one is a pruned trial
    without a score, which the sampler takes for worse than all others.

    Args:
        seed: of the study's sampler.
    """
    import optuna

    silence_optuna()
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, multivariate=True, group=True, constant_liar=True)
    maximize, minimize = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
    directions = [maximize if objective.mode == "max" else minimize for objective in campaign.objectives]
    study: optuna.Study = optuna.create_study(directions=directions, sampler=sampler)
    for configuration in known:
        study.add_trial(_frozen(campaign, configuration))
    return study


def _frozen(campaign: Campaign, configuration: Configuration) -> optuna.trial.FrozenTrial:
    """A configuration as a trial of Optuna's study."""
    import optuna

    return optuna.trial.create_trial(
        params={path: _as_category(campaign, path, value) for path, value in configuration.params.items()},
        distributions={path: _distribution(campaign, path) for path in configuration.params},
        user_attrs={"number": configuration.number},
        **_result(campaign, configuration),
    )


def _result(campaign: Campaign, configuration: Configuration) -> dict[str, Any]:
    """State and values of a configuration as a trial of Optuna's study."""
    from optuna.trial import TrialState

    scores = configuration.scores(campaign)
    if not configuration.is_partial:
        if scores is not None and all(map(math.isfinite, scores)):
            return {"state": TrialState.COMPLETE, "values": scores}
        return {"state": TrialState.RUNNING}
    if not configuration.rests:
        return {"state": TrialState.RUNNING}
    if len(campaign.objectives) > 1:
        return {"state": TrialState.FAIL}  # Optuna defines pruning for one objective only
    if scores is None or not math.isfinite(scores[0]):
        return {"state": TrialState.PRUNED}
    return {"state": TrialState.PRUNED, "intermediate_values": {configuration.updates: scores[0]}}


def _distribution(campaign: Campaign, path: str) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    dimension = campaign.space[path]
    if isinstance(dimension, Uniform):
        return FloatDistribution(*dimension.uniform)
    if isinstance(dimension, LogUniform):
        return FloatDistribution(*dimension.log_uniform, log=True)
    if isinstance(dimension, Integer):
        return IntDistribution(*dimension.integer)
    return CategoricalDistribution(dimension.categories)


def _as_category(campaign: Campaign, path: str, value: Any) -> Any:
    dimension = campaign.space[path]
    return dimension.categories[dimension.choice.index(value)] if isinstance(dimension, Choice) else value


def _seed(campaign: Campaign, number: int) -> int:
    return random.Random(f"{campaign.seed}/{number}/tpe").randrange(2**31)
