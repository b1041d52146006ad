"""Scores of configurations and trials."""

import pytest

from tests.trainers.search.campaigns import configuration, parsed
from unbraid.trainers.search.campaign.history import trial_name

CENTRAL = {"objectives": [{"metric": "selection/centrality"}], "seeds": {"count": 2}}


def test_the_score_is_the_median_over_seeds_and_a_failed_seed_is_the_worst() -> None:
    objective = parsed().objectives[0]
    assert configuration(0, 0.1, 0.9, 0.5).score(objective) == 0.5
    failed = configuration(0, 0.1, 0.9, 0.5)
    failed.trials[2].state = "failed"
    assert failed.score(objective) == 0.1
    assert configuration(0).score(objective) is None


def test_where_less_is_better_a_failed_seed_is_the_worst_too() -> None:
    objective = parsed(objectives=[{"metric": "info/share", "mode": "min"}]).objectives[0]
    failed = configuration(0, 0.1, 0.9, 0.5)
    failed.trials[0].state = "failed"
    assert failed.score(objective) == 0.9


def test_the_best_trial_has_the_median_score_and_has_not_failed() -> None:
    trials = configuration(0, 0.1, 0.9, 0.5)
    best = trials.best_trial(parsed())
    assert best is trials.trials[2]
    trials.trials[2].state = "failed"
    assert trials.best_trial(parsed()) is trials.trials[0]


def test_the_best_trial_is_the_most_central_where_models_are_compared() -> None:
    trials = configuration(0, 0.9, 0.1)
    trials.centrality = {0: 0.2, 1: 0.7}
    assert trials.best_trial(parsed(**CENTRAL)) is trials.trials[1]
    assert trials.score(parsed(**CENTRAL).objectives[0]) == pytest.approx(0.45)


def test_models_are_compared_once_and_only_after_all_seeds_have_finished() -> None:
    central = parsed(**CENTRAL)
    assert configuration(0, 0.1, 0.2).needs_comparison(central)
    assert not configuration(0, 0.1).needs_comparison(central)
    assert not configuration(0, 0.1, 0.2, state="stopped").needs_comparison(central)
    assert not configuration(0, 0.1, 0.2).needs_comparison(parsed(seeds={"count": 2}))
    compared = configuration(0, 0.1, 0.2)
    compared.centrality = {}
    assert not compared.needs_comparison(central)


def test_a_trial_is_named_for_configuration_and_seed() -> None:
    assert trial_name(7, 1) == configuration(7, 0.1, 0.2).trials[1].name == "0007-s1"
