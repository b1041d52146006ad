"""What a campaign does next, and what its scores mean, without Ray: a plan is driven by hand."""

import json
import math
import random
from typing import Any

import pytest

from tests.trainers.search.campaigns import content
from unbraid.trainers.search.campaign.cost import asha_updates
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, State, Trial
from unbraid.trainers.search.campaign.ranking import pareto_ranks, ranked
from unbraid.trainers.search.campaign.reading import parse_campaign
from unbraid.trainers.search.plan.centrality import centralities
from unbraid.trainers.search.plan.plan import Assignment, Plan
from unbraid.trainers.search.plan.proposals import propose, study_of
from unbraid.trainers.search.report.table import campaign_table, sparks

CENTRAL = {"objectives": [{"metric": "selection/centrality"}], "seeds": {"count": 2}}


def campaign(**change: Any) -> Campaign:
    return parse_campaign(json.dumps(content(**change)), "mine.yaml")


def finish(plan: Plan, assignment: Assignment | None, score: float, updates: int = 8) -> None:
    assert assignment is not None
    trial = plan.trial(assignment.number, assignment.seed)
    plan.measured(trial, updates, {"info/share": score})
    plan.ended(trial, "finished")


def configuration(number: int, *scores: float, state: Any = "finished", updates: int = 8) -> Configuration:
    trials = {
        seed: Trial(number, seed, state, updates=updates, rungs=[(updates, {"info/share": score, "quality/coverage": -score})])
        for seed, score in enumerate(scores)
    }
    return Configuration(number, {"loss.info_categorical": 1.0 + number, "optim.lr_generator": 1e-3}, trials)


def test_a_plan_deals_out_its_budget_and_ends() -> None:
    plan = Plan(campaign(), [])
    for number in range(4):
        assignment = plan.next()
        assert assignment == Assignment("train", number)
        assert not plan.over
        finish(plan, assignment, 0.5)
    assert plan.next() is None
    assert plan.over


def test_interrupted_trials_come_first_and_finished_ones_never_again() -> None:
    before = [configuration(0, 0.3), configuration(1, 0.2, state="running", updates=4)]
    plan = Plan(campaign(), before)
    assert plan.next() == Assignment("train", 1)
    assert plan.next() == Assignment("train", 2)


def test_what_is_proposed_depends_on_what_is_known_and_not_on_when_it_was_learnt() -> None:
    tpe = campaign(searcher={"kind": "tpe", "startup": 2}, budget={"trials": 12})
    known = [configuration(n, 0.1 * n) for n in range(6)]
    again = [configuration(n, 0.1 * n) for n in range(6)]
    assert propose(tpe, 6, known) == propose(tpe, 6, again)
    assert propose(tpe, 1, known) == propose(tpe, 1, [])  # one of the first, which are random


def test_tpe_comes_nearer_to_the_best_than_random_draws() -> None:
    def play(kind: str, seed: int) -> float:
        played = campaign(searcher={"kind": kind, "startup": 6}, budget={"trials": 24}, seed=seed)
        plan = Plan(played, [])
        scores = []
        while (assignment := plan.next()) is not None:
            values = plan.configurations[assignment.number].params
            distance = abs(math.log(values["loss.info_categorical"])) + abs(math.log(values["optim.lr_generator"] / 1e-3))
            scores.append(-distance)
            finish(plan, assignment, scores[-1])
        return max(scores)

    wins = sum(play("tpe", seed) > play("random", seed) for seed in range(5))
    assert wins >= 4


def test_the_score_is_the_median_over_seeds_and_a_failed_seed_is_the_worst() -> None:
    objective = campaign().objectives[0]
    assert configuration(0, 0.1, 0.9, 0.5).score(objective) == 0.5
    failed = configuration(0, 0.1, 0.9, 0.5)
    failed.trials[2].state = "failed"
    assert failed.score(objective) == 0.1
    assert configuration(0).score(objective) is None


def test_only_promising_configurations_get_more_seeds() -> None:
    plan = Plan(campaign(seeds={"count": 3, "promising": 0.5}, budget={"trials": 40}), [])
    first = [plan.next() for _ in range(4)]  # none has ended: all are new configurations
    assert [a.number for a in first if a] == [0, 1, 2, 3]
    for assignment, score in zip(first, (0.1, 0.9, 0.8, 0.2), strict=True):
        finish(plan, assignment, score)
    dealt = [plan.next() for _ in range(4)]
    assert [(a.number, a.seed) for a in dealt if a] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert plan.next() == Assignment("train", 4)
    assert plan.configurations[0].given_up
    assert plan.configurations[3].given_up


def test_a_first_seed_that_was_stopped_or_failed_gets_no_others() -> None:
    plan = Plan(campaign(seeds={"count": 2}), [])
    states: tuple[State, ...] = ("stopped", "failed")
    for state in states:
        assignment = plan.next()
        assert assignment is not None
        plan.ended(plan.trial(assignment.number, assignment.seed), state)
    assert plan.next() == Assignment("train", 2)
    assert [configuration.given_up for configuration in plan.configurations] == [True, True, False]


def test_models_are_judged_once_all_seeds_are_trained() -> None:
    plan = Plan(campaign(**CENTRAL), [])
    seeds = [plan.next()]
    finish(plan, seeds[0], 0.5)
    second = plan.next()
    assert second == Assignment("train", 0, 1)
    finish(plan, second, 0.5)
    assert plan.next() == Assignment("judge", 0)
    assert plan.configurations[0].score(plan.campaign.objectives[0]) is None
    plan.judged(0, {0: 0.7, 1: 0.9})
    assert plan.configurations[0].score(plan.campaign.objectives[0]) == pytest.approx(0.8)
    best = plan.configurations[0].best_trial(plan.campaign)
    assert best is not None
    assert best.seed == 1


def test_no_trial_starts_once_updates_are_used_up() -> None:
    plan = Plan(campaign(budget={"trials": 9, "updates": 16}), [])
    for _ in range(2):
        finish(plan, plan.next(), 0.5)
    assert plan.next() is None
    assert plan.over


def test_trained_to_the_end_ranks_before_cut_and_failed_ones_last() -> None:
    cut = configuration(1, 0.9, state="stopped", updates=2)
    longer = configuration(2, 0.3, state="stopped", updates=6)
    failed = configuration(3, 0.99, state="failed")
    order = ranked([failed, cut, longer, configuration(0, 0.1)], campaign())
    assert [c.number for c in order] == [0, 2, 1, 3]


def test_the_pareto_front_is_what_nothing_dominates() -> None:
    two = campaign(objectives=[{"metric": "info/share"}, {"metric": "quality/coverage"}])
    points = [configuration(0, 0.1), configuration(1, 0.9), configuration(2, 0.5)]
    points[2].trials[0].rungs = [(8, {"info/share": 0.05, "quality/coverage": -0.2})]
    assert pareto_ranks(points, two) == {0: 0, 1: 0, 2: 1}


def test_optuna_is_told_which_were_cut_and_which_failed() -> None:
    failed = configuration(2, 0.4, state="failed")
    states = [
        t.state.name
        for t in study_of(campaign(), [configuration(0, 0.4), configuration(1, 0.2, state="stopped"), failed]).trials
    ]
    assert states == ["COMPLETE", "PRUNED", "PRUNED"]


def test_centrality_is_the_mean_agreement_with_the_others_both_ways() -> None:
    assert centralities([[1.0, 0.8, 0.1], [0.6, 1.0, 0.3], [0.1, 0.1, 1.0]]) == pytest.approx([0.4, 0.45, 0.15])


def test_successive_halving_costs_what_its_rungs_say() -> None:
    assert asha_updates(9, (10, 30), 3, 90) == 9 * 10 + 3 * 20 + 60


def test_the_table_shows_best_first_and_what_became_of_the_others() -> None:
    shown = [configuration(0, 0.25), configuration(1, 0.75), configuration(2, 0.5, state="failed")]
    shown[2].trials[0].cause = "diverged: loss/d is not finite"
    text = campaign_table(campaign(), shown, 65.0)
    first, second, third = text.splitlines()[-3:]
    assert first.startswith("0001") and "0.7500" in first
    assert second.startswith("0000")
    assert "diverged" in third
    assert "3 of 4 trials over (2 finished, 1 failed), 0 running, 01:05, about 00:21 left" in text


def test_sparks_rise_with_their_values() -> None:
    assert sparks([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparks([1.0, 1.0]) == "▁▁"


def test_draws_of_a_configuration_do_not_depend_on_other_draws() -> None:
    random.seed(3)
    first = propose(campaign(), 2, [])
    random.seed(4)
    assert propose(campaign(), 2, []) == first
    assert propose(campaign(seed=1), 2, []) != first
