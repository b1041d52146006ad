"""Schedulers as functions of the history: the tests report scores in every order, and take trials away."""

import random
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.search.campaigns import parsed
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.sections import BudgetConfig
from unbraid.trainers.search.campaign.space import Integer, Space, Uniform
from unbraid.trainers.search.plan.plan import Assignment, Plan
from unbraid.trainers.search.schedulers.hyperband import brackets
from unbraid.trainers.search.schedulers.order import best_first
from unbraid.trainers.search.schedulers.population import exchanges, explored

TWO = [{"metric": "info/share"}, {"metric": "quality/coverage"}]
SCORES = st.lists(st.floats(-1, 1), min_size=2, max_size=12, unique=True)


@cache
def _planned(kind: str, more: tuple[tuple[str, Any], ...]) -> Campaign:
    return parsed(scheduler={"kind": kind} | dict(more), budget={"trials": 2})


def planned(kind: str, trials: int, **more: Any) -> Campaign:
    """A campaign, which takes a fraction of a second to check."""
    campaign = _planned(kind, tuple(more.items()))
    return campaign.model_copy(update={"budget": BudgetConfig(trials=trials)})


def begun(campaign: Campaign) -> Plan:
    """A plan all of whose trials have started."""
    plan = Plan(campaign, [])
    while plan.next() is not None:
        pass
    return plan


def report(plan: Plan, number: int, updates: int, score: float, other: float = 0.0) -> str:
    """Report an evaluation and do with the trial what the scheduler says; returns that."""
    trial = plan.trial(number, 0)
    verdict = plan.record_scores(trial, updates, {"info/share": score, "quality/coverage": other})
    if verdict == "pause":
        plan.pause(trial)
    elif verdict == "stop":
        plan.record_end(trial, "stopped")
    return verdict


def released(plan: Plan) -> list[int]:
    """Numbers of the trials that go on now, in order; each makes an update at once."""
    plan.settle()
    found = []
    while (assignment := plan.next()) is not None:
        found.append(assignment.number)
        plan.trial(assignment.number, 0).updates += 1
    return found


def resumed(plan: Plan) -> Plan:
    """The plan of a launch that knows nothing but the history, after it has started what was interrupted."""
    for trial in plan.trials():
        trial.state = "running" if trial.state == "paused" else trial.state
    again = Plan(plan.campaign, plan.configurations)
    again.settle()
    for trial in [trial for trial in again.trials() if trial.state == "running"]:
        assert again.next() == Assignment("train", trial.number)
    return again


def test_asha_stops_what_is_not_among_the_best_share_of_those_that_have_come() -> None:
    plan = begun(planned("asha", 6, grace=2, reduction=3))
    assert report(plan, 0, 2, 0.5) == "continue"
    assert report(plan, 1, 2, 0.4) == "stop"
    assert report(plan, 2, 2, 0.6) == "continue"
    assert [report(plan, number, 2, 0.55) for number in (3, 4)] == ["stop", "stop"]
    assert report(plan, 5, 2, 0.59) == "continue"  # the second of six
    assert report(plan, 2, 6, 0.1) == "continue"  # the first at the next rung


def test_a_resumed_campaign_compares_with_the_trials_of_earlier_launches() -> None:
    plan = begun(planned("asha", 4, grace=2, reduction=2))
    for number, score in ((0, 0.1), (1, 0.9)):
        report(plan, number, 2, score)
    assert report(resumed(plan), 2, 2, 0.4) == "stop"
    median = begun(planned("median", 5, every=2, others=2))
    for number, score in ((0, 0.5), (1, 0.6), (2, 0.7)):
        for updates in (2, 4):
            report(median, number, updates, score)
    again = resumed(median)
    assert report(again, 3, 2, 0.1) == "stop"
    assert report(again, 4, 2, 0.8) == "continue"


def test_the_median_rule_compares_the_best_score_with_the_others_means_from_grace_on() -> None:
    plan = begun(planned("median", 4, every=2, others=2, grace=4))
    for number, (early, late) in enumerate(((0.9, 0.2), (0.8, 0.3))):
        report(plan, number, 2, early)
        report(plan, number, 4, late)
    assert report(plan, 2, 2, 0.0) == "continue"  # before grace
    assert report(plan, 2, 4, 0.26) == "continue"  # the others' means from grace on are 0.2 and 0.3
    assert report(plan, 3, 2, 0.9) == "continue"
    assert report(plan, 3, 4, 0.24) == "stop"


@given(SCORES, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_promotion_lets_the_best_share_of_a_rung_go_on_whatever_the_order(scores: list[float], source: random.Random) -> None:
    plan = begun(planned("asha", len(scores), grace=2, reduction=3, type="promotion"))
    order = list(range(len(scores)))
    source.shuffle(order)
    promoted: list[int] = []
    for number in order:
        assert report(plan, number, 2, scores[number]) == "pause"
        if source.random() < 0.3:
            plan = resumed(plan)
        promoted += released(plan)
    best = sorted(range(len(scores)), key=lambda number: -scores[number])[: max(1, len(scores) // 3)]
    assert set(best) <= set(promoted)
    assert len(promoted) == len(set(promoted))
    assert {trial.state for trial in plan.trials() if trial.number not in promoted} <= {"paused"}


def test_what_is_never_promoted_is_stopped_when_the_campaign_ends() -> None:
    plan = begun(planned("asha", 3, grace=4, reduction=3, type="promotion"))
    for number in range(3):
        report(plan, number, 4, float(number))
    assert released(plan) == [2]
    assert not plan.over
    plan.record_end(plan.trial(2, 0), "finished")
    assert [trial.number for trial in plan.settle()] == [0, 1]
    assert plan.trial(0, 0).cause == "by the scheduler after 4 updates"
    assert plan.over


@given(st.integers(1, 11), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_hyperband_decides_the_same_in_every_order(count: int, source: random.Random) -> None:
    """Three updates of a whole of eight are the first rung; eleven trials are less than a bracket and a half."""
    scores = {number: random.Random(number).random() for number in range(count)}
    states = []
    for shuffled in (False, True):
        plan = begun(planned("hyperband", count, grace=2, reduction=2))
        waiting = list(range(count))
        while waiting:
            number = waiting.pop(source.randrange(len(waiting)) if shuffled else 0)
            trial = plan.trial(number, 0)
            at = next((at for at in plan.campaign.rungs if at > trial.updates), 8)
            if report(plan, number, at, scores[number]) == "continue":
                if at < 8:
                    waiting.append(number)
                else:
                    plan.record_end(trial, "finished")
            if shuffled and source.random() < 0.2:
                plan = resumed(plan)
            waiting += released(plan)
        plan.settle()
        assert plan.over
        states.append({trial.name: (trial.state, trial.updates) for trial in plan.trials()})
    assert states[0] == states[1]
    assert any(state == ("finished", 8) for state in states[0].values())


def test_brackets_have_the_sizes_of_the_paper() -> None:
    """Table 1 of the paper: R = 81, η = 3."""
    found = [bracket for bracket, _ in zip(brackets(81, 1, 3), range(6), strict=False)]
    assert [bracket.size for bracket in found] == [81, 34, 15, 8, 5, 81]
    assert [bracket.rungs for bracket in found[:5]] == [(1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ()]
    assert [bracket.first for bracket in found] == [0, 81, 115, 130, 138, 143]


def test_a_trial_that_fails_holds_up_no_bracket_and_no_generation() -> None:
    for plan in (begun(planned("hyperband", 4, grace=2, reduction=2)), begun(planned("pbt", 4, every=2))):
        for number in range(3):
            report(plan, number, 2, float(number))
        assert released(plan) == []
        plan.record_end(plan.trial(3, 0), "failed", "diverged")
        assert 2 in released(plan)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=9, unique=True), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_a_generation_exchanges_the_same_in_every_order(scores: list[float], source: random.Random) -> None:
    results = []
    for shuffled in (False, True):
        plan = begun(planned("pbt", len(scores), every=4, quantile=0.5))
        order = list(range(len(scores)))
        if shuffled:
            source.shuffle(order)
        for place_, number in enumerate(order):
            assert released(plan) == []
            report(plan, number, 4, scores[number])
            if shuffled and place_ == 1:
                plan = resumed(plan)
        assert sorted(released(plan)) == list(range(len(scores)))
        results.append([configuration.descents for configuration in plan.configurations])
    assert results[0] == results[1]
    assert sum(map(len, results[0])) == len(scores) // 2
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    for number, descents in enumerate(results[0]):
        assert bool(descents) == (number in order[len(order) - len(order) // 2 :])
        for descent in descents:
            assert int(descent.donor[:4]) in order[: len(order) // 2]


def test_explored_values_are_near_a_donors_and_within_the_space() -> None:
    space = parsed(
        space={"loss.info_categorical": {"log_uniform": [0.1, 10.0]}, "loss.info_continuous": {"uniform": [0.0, 1.0]}}
    ).space
    params = {"loss.info_categorical": 9.0, "loss.info_continuous": 0.5}
    seen = [explored(space, params, 0.0, random.Random(seed)) for seed in range(40)]
    assert {round(found["loss.info_categorical"], 3) for found in seen} == {7.2, 10.0}
    assert {round(found["loss.info_continuous"], 3) for found in seen} == {0.4, 0.6}
    anew = [explored(space, params, 1.0, random.Random(seed)) for seed in range(40)]
    assert len({found["loss.info_categorical"] for found in anew}) == 40
    assert all(0.1 <= found["loss.info_categorical"] <= 10.0 for found in anew)


def test_a_choice_moves_to_one_beside_it() -> None:
    space = parsed(space={"augment.enabled": {"choice": [True, False]}, "codes.continuous": {"choice": [0, 1, 2, 3]}}).space
    seen = [explored(space, {"augment.enabled": True, "codes.continuous": 1}, 0.0, random.Random(s)) for s in range(40)]
    assert {found["codes.continuous"] for found in seen} == {0, 2}
    assert {found["augment.enabled"] for found in seen} == {True, False}
    whole: Space = {"codes.continuous": Integer(integer=(0, 9)), "x": Uniform(uniform=(0, 1))}
    assert {explored(whole, {"codes.continuous": 5}, 0.0, random.Random(s))["codes.continuous"] for s in range(40)} == {4, 6}


POINTS = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1)


@given(POINTS, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_by_several_scores_depends_on_no_order_and_begins_with_the_front(
    points: Mapping[str, tuple[float, float]], source: random.Random
) -> None:
    names = list(points)
    source.shuffle(names)
    order = best_first({name: points[name] for name in names})
    assert order == best_first(points)
    assert sorted(order) == sorted(points)
    for index, name in enumerate(order):
        assert not any(_dominates(points[later], points[name]) for later in order[index + 1 :])


def _dominates(a: Iterable[float], b: Iterable[float]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def test_a_share_of_a_front_covers_it() -> None:
    front = {"a": (0.0, 1.0), "b": (0.02, 0.98), "c": (0.5, 0.5), "d": (1.0, 0.0), "e": (0.98, 0.02)}
    assert set(best_first(front)[:3]) == {"a", "c", "d"}
    assert set(best_first({name: (1000 * x, y) for name, (x, y) in front.items()})[:3]) == {"a", "c", "d"}


def test_a_score_that_is_not_a_number_is_the_worst() -> None:
    assert best_first({"a": (float("nan"),), "b": (-5.0,)}) == ["b", "a"]
    assert best_first({"a": (float("nan"), 1.0), "b": (-5.0, 2.0)}) == ["b", "a"]


def test_halving_by_several_objectives_keeps_both_ends_of_the_front() -> None:
    plan = begun(parsed(objectives=TWO, scheduler={"kind": "asha", "grace": 2, "reduction": 2, "type": "promotion"}))
    for number, (share, coverage) in enumerate(((0.9, 0.0), (0.5, 0.4), (0.1, 0.9), (0.4, 0.3))):
        report(plan, number, 2, share, coverage)
    assert sorted(released(plan)) == [0, 2]


def test_the_worst_exploit_the_best_and_never_more_than_half() -> None:
    points = {name: (float(index),) for index, name in enumerate("abcde")}
    found = exchanges(points, 0.25, random.Random(0))
    assert found.keys() == {"a", "b"}
    assert set(found.values()) <= {"d", "e"}
    assert exchanges({"a": (1.0,)}, 0.5, random.Random(0)) == {}
    assert len(exchanges(points, 0.5, random.Random(0))) == 2


def test_interrupted_trials_are_paused_only_where_they_wait() -> None:
    """One has trained on since its rung, one is there, one was killed before it."""
    campaign = planned("asha", 3, grace=2, reduction=3, type="promotion")
    histories = [(5, [(2, 0.9)]), (2, [(2, 0.8)]), (1, [])]
    known = []
    for number, (updates, rungs) in enumerate(histories):
        trial = Trial(number, 0, "running", updates=updates, rungs=[(at, {"info/share": score}) for at, score in rungs])
        known.append(Configuration(number, {}, {0: trial}))
    plan = Plan(campaign, known)
    assert [trial.state for trial in plan.trials()] == ["running", "paused", "running"]
    assert [plan.next(), plan.next(), plan.next()] == [Assignment("train", 0), Assignment("train", 2), None]


@pytest.mark.parametrize("kind", ["hyperband", "pbt"])
def test_a_spent_budget_stops_what_is_paused(kind: str) -> None:
    more = {"grace": 2, "reduction": 2} if kind == "hyperband" else {"every": 2}
    plan = begun(parsed(scheduler={"kind": kind} | more, budget={"trials": 3, "updates": 6}))
    for number in range(3):
        report(plan, number, 2, 0.1)
    assert [trial.state for trial in plan.settle()] == ["stopped"] * 3
    assert plan.next() is None
    assert plan.over


def test_a_trial_that_was_to_stop_when_the_driver_was_killed_is_stopped_by_the_next_launch() -> None:
    campaign = planned("asha", 3, grace=2, reduction=2)
    known = []
    for number, score in enumerate((0.9, 0.1)):
        trial = Trial(number, 0, "running", updates=2, rungs=[(2, {"info/share": score})])
        known.append(Configuration(number, {}, {0: trial}))
    plan = Plan(campaign, known)
    assert [trial.number for trial in plan.settle()] == [1]
    assert plan.trial(1, 0).state == "stopped"
    assert plan.next() == Assignment("train", 0)
