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
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.campaign.space import (
    Choice,
    Integer,
    LogUniform,
    Params,
    RandomSuggester,
    Uniform,
    grid,
    is_finite,
    key_of,
    sample,
)

if TYPE_CHECKING:
    import optuna

MOST_DRAWS = 1000
"""Random points that are tried before a space counts as exhausted."""


def propose(campaign: Campaign, number: int, known: Sequence[Configuration]) -> Params | None:
    """Values for configuration ``number``; None when all points of a space of choices and whole numbers are known.

    No point is proposed twice, except to a population, whose members change their values later.

    Args:
        known: all configurations so far.
    """
    if campaign.searcher.kind == "grid":
        return _first_untried(campaign, known)
    params = _drawn(campaign, number)
    if campaign.searcher.kind == "tpe" and number >= campaign.searcher.startup:
        params = sample(campaign.space, study_of(campaign, known, _seed(campaign, number)).ask())
        if any(params == configuration.params for configuration in known):  # once it has converged it says the same again
            params = _drawn(campaign, number)
    if isinstance(campaign.scheduler, Pbt) or not is_finite(campaign.space, params):
        return params
    tried = _keys(campaign, known)
    for attempt in range(1, MOST_DRAWS):
        if key_of(params) not in tried:
            return params
        params = _drawn(campaign, number, attempt)
    return None if campaign.points is None else _first_untried(campaign, known)


def is_exhausted(campaign: Campaign, known: Sequence[Configuration]) -> bool:
    """Whether :func:`propose` has nothing more to propose, as far as that can be known without asking it."""
    return campaign.points is not None and len(known) >= campaign.points and _first_untried(campaign, known) is None


def _first_untried(campaign: Campaign, known: Sequence[Configuration]) -> Params | None:
    tried = _keys(campaign, known)
    return next((point for point in grid(campaign.space) if key_of(point) not in tried), None)


def _keys(campaign: Campaign, known: Sequence[Configuration]) -> set[str]:
    """The known points of the campaign's present space."""
    return {key_of(point) for configuration in known if (point := configuration.point(campaign)) is not None}


def _drawn(campaign: Campaign, number: int, attempt: int = 0) -> Params:
    """A random point, the same each time."""
    text = f"{campaign.seed}/{number}" + (f"/{attempt}" if attempt else "")
    return sample(campaign.space, RandomSuggester(random.Random(text)))


def silence_optuna() -> None:
    """Turn off Optuna's line of log for each trial, and its warnings about experimental options."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def study_of(campaign: Campaign, known: Sequence[Configuration], seed: int = 0) -> optuna.Study:
    """All configurations within the space as an Optuna study; its samplers learn from it, importances and plots are made of it.

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
        point = configuration.point(campaign)
        if point is not None:
            study.add_trial(_frozen(campaign, configuration, point))
    return study


def _frozen(campaign: Campaign, configuration: Configuration, point: Params) -> optuna.trial.FrozenTrial:
    """A configuration, which lies at a point of the space, as a trial of Optuna's study."""
    import optuna

    return optuna.trial.create_trial(
        params={path: _as_category(campaign, path, value) for path, value in point.items()},
        distributions={path: _distribution(campaign, path) for path in point},
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
