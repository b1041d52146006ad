"""What a campaign does next, without Ray: the tests take the place of trials."""

from typing import Any

import pytest

from tests.trainers.search.campaigns import configuration, parsed
from unbraid.trainers.search.campaign.history import State
from unbraid.trainers.search.plan.plan import Assignment, Plan

CENTRAL: dict[str, Any] = {"objectives": [{"metric": "selection/centrality"}], "seeds": {"count": 2}}


def finish(plan: Plan, assignment: Assignment | None, score: float, updates: int = 8) -> None:
    assert assignment is not None
    trial = plan.trial(assignment.number, assignment.seed)
    plan.record_scores(trial, updates, {"info/share": score})
    plan.record_end(trial, "finished")


def test_a_plan_gives_out_its_budget_and_ends() -> None:
    plan = Plan(parsed(), [])
    for number in range(4):
        assignment = plan.next()
        assert assignment == Assignment("train", number)
        assert not plan.over
        finish(plan, assignment, 0.5)
    assert plan.next() is None
    assert plan.over


def test_interrupted_trials_come_first_and_finished_ones_never_again() -> None:
    before = [configuration(0, 0.3), configuration(1, 0.2, state="running", updates=4)]
    plan = Plan(parsed(), before)
    assert plan.next() == Assignment("train", 1)
    assert plan.next() == Assignment("train", 2)


def test_only_promising_configurations_get_more_seeds() -> None:
    plan = Plan(parsed(seeds={"count": 3, "promising": 0.5}, budget={"trials": 40}), [])
    first = [plan.next() for _ in range(4)]  # none has ended, so all are new configurations
    assert [a.number for a in first if a] == [0, 1, 2, 3]
    for assignment, score in zip(first, (0.1, 0.9, 0.8, 0.2), strict=True):
        finish(plan, assignment, score)
    given = [plan.next() for _ in range(4)]
    assert [(a.number, a.seed) for a in given if a] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert plan.next() == Assignment("train", 4)
    assert plan.configurations[0].given_up
    assert plan.configurations[3].given_up


def test_a_first_seed_that_was_stopped_or_failed_gets_no_others() -> None:
    plan = Plan(parsed(seeds={"count": 2}), [])
    states: tuple[State, ...] = ("stopped", "failed")
    for state in states:
        assignment = plan.next()
        assert assignment is not None
        plan.record_end(plan.trial(assignment.number, assignment.seed), state)
    assert plan.next() == Assignment("train", 2)
    assert [configuration.given_up for configuration in plan.configurations] == [True, True, False]


def test_models_are_compared_once_all_seeds_are_trained() -> None:
    plan = Plan(parsed(**CENTRAL, budget={"trials": 2}), [])
    finish(plan, plan.next(), 0.5)
    second = plan.next()
    assert second == Assignment("train", 0, 1)
    finish(plan, second, 0.5)
    assert plan.next() == Assignment("compare", 0)
    assert plan.next() is None
    assert not plan.over
    plan.record_centrality(0, {0: 0.7, 1: 0.9})
    assert plan.configurations[0].score(plan.campaign.objectives[0]) == pytest.approx(0.8)
    assert plan.over


def test_a_comparison_that_failed_is_not_repeated() -> None:
    plan = Plan(parsed(**CENTRAL, budget={"trials": 2}), [configuration(0, 0.1, 0.2)])
    assert plan.next() == Assignment("compare", 0)
    plan.record_centrality(0, {})
    assert plan.next() is None
    assert plan.over


@pytest.mark.parametrize(
    "limits", [{"budget": {"trials": 9, "updates": 16}}, {"budget": {"trials": 9, "gpu_hours": 1}, "resources": {"gpus": 0.5}}]
)
def test_no_trial_starts_once_updates_or_gpu_hours_are_used_up(limits: dict[str, Any]) -> None:
    plan = Plan(parsed(**limits), [])
    for _ in range(2):
        assert not plan.over
        assignment = plan.next()
        assert assignment is not None
        plan.trial(assignment.number, 0).seconds = 3600.0
        finish(plan, assignment, 0.5)
    assert plan.next() is None
    assert plan.over


def test_work_that_is_given_back_comes_next() -> None:
    plan = Plan(parsed(**CENTRAL, budget={"trials": 4}), [configuration(0, 0.1, 0.2)])
    comparison, training = plan.next(), plan.next()
    assert comparison == Assignment("compare", 0)
    assert training == Assignment("train", 1)
    plan.give_back(comparison)
    plan.give_back(training)
    assert [plan.next(), plan.next()] == [training, comparison]


def test_an_evaluation_after_a_restart_replaces_those_of_later_updates() -> None:
    plan = Plan(parsed(), [configuration(0, 0.3, state="running", updates=4)])
    trial = plan.trial(0, 0)
    trial.rungs = [(2, {"info/share": 0.1}), (4, {"info/share": 0.2})]
    plan.record_scores(trial, 4, {"info/share": 0.25})
    assert trial.rungs == [(2, {"info/share": 0.1}), (4, {"info/share": 0.25})]
    assert trial.scores == {"info/share": 0.25}
