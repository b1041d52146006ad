"""Which point of the space comes next: a function of the campaign, the number of the configuration, and what is known by then.

No generator lives between two calls, so that a campaign that is cut and resumed proposes what it would have proposed.
"""

from __future__ import annotations

import logging
import math
import random
import warnings
from typing import TYPE_CHECKING, Any

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.space import Choice, Integer, LogUniform, Params, Uniform, ask, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna


def propose(campaign: Campaign, number: int, known: Sequence[Configuration]) -> Params | None:
    """Values for configuration ``number``; None when there are no more.

    Args:
        known: all configurations proposed so far.
    """
    if campaign.searcher.kind == "grid":
        points = grid(campaign.space)
        return points[number] if number < len(points) else None
    if campaign.searcher.kind == "random" or number < campaign.searcher.startup:
        return ask(campaign.space, RandomAsker(random.Random(f"{campaign.seed}/{number}")))
    params = ask(campaign.space, study_of(campaign, known, _seed(campaign, number)).ask())
    # a model that is sure proposes the same again and again
    if any(params == configuration.params for configuration in known):
        params = ask(campaign.space, RandomAsker(random.Random(f"{campaign.seed}/{number}")))
    return params


class RandomAsker:
    """Draws every value from its own distribution."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number, or one whose logarithm is uniform."""
        if log:
            return min(max(math.exp(self._source.uniform(math.log(low), math.log(high))), low), high)
        return self._source.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number."""
        return self._source.randint(low, high)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of them."""
        return self._source.choice(choices)


def quiet_optuna() -> None:
    """No line for each trial."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def study_of(campaign: Campaign, known: Sequence[Configuration], seed: int = 0) -> optuna.Study:
    """What is known, as Optuna's study: its samplers learn from it, its importances and plots are made of it.

    A configuration that was cut counts as pruned at the updates that it reached, one that failed as pruned at once: the
    sampler then takes it for worse than all that got further.
    """
    import optuna

    quiet_optuna()
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, multivariate=True, group=True, constant_liar=True)
    maximize, minimize = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
    directions = [maximize if objective.mode == "max" else minimize for objective in campaign.objectives]
    study: optuna.Study = optuna.create_study(directions=directions, sampler=sampler)
    for configuration in known:
        study.add_trial(_frozen(campaign, configuration))
    return study


def _frozen(campaign: Campaign, configuration: Configuration) -> optuna.trial.FrozenTrial:
    import optuna

    distributions = {path: _distribution(campaign, path) for path in configuration.params}
    params = {path: _as_asked(campaign, path, value) for path, value in configuration.params.items()}
    scores, one = configuration.scores(campaign), len(campaign.objectives) == 1
    given: dict[str, Any] = {"state": optuna.trial.TrialState.RUNNING}
    if scores is not None and all(map(math.isfinite, scores)) and not configuration.was_cut:
        given = {"state": optuna.trial.TrialState.COMPLETE, "values": scores}
    elif configuration.was_cut and configuration.ended and one:
        value = scores[0] if scores is not None else math.inf
        given = {"state": optuna.trial.TrialState.PRUNED}
        if math.isfinite(value):
            given["intermediate_values"] = {configuration.updates: value}
    elif configuration.was_cut and configuration.ended:
        given = {"state": optuna.trial.TrialState.FAIL}  # pruning is defined for one objective only
    return optuna.trial.create_trial(
        params=params, distributions=distributions, user_attrs={"number": configuration.number}, **given
    )


def _distribution(campaign: Campaign, path: str) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    dimension = campaign.space[path]
    if isinstance(dimension, Uniform):
        return FloatDistribution(*dimension.uniform)
    if isinstance(dimension, LogUniform):
        return FloatDistribution(*dimension.log_uniform, log=True)
    if isinstance(dimension, Integer):
        return IntDistribution(*dimension.integer)
    return CategoricalDistribution(dimension.words)


def _as_asked(campaign: Campaign, path: str, value: Any) -> Any:
    dimension = campaign.space[path]
    return dimension.words[dimension.choice.index(value)] if isinstance(dimension, Choice) else value


def _seed(campaign: Campaign, number: int) -> int:
    return random.Random(f"{campaign.seed}/{number}/tpe").randrange(2**31)
