"""What persons ask of a plan: it happens, it holds against the scheduler, and what cannot be is refused without a trace."""

from typing import Any

import pytest

from tests.trainers.search.campaigns import configuration, parsed
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.requests import Kind, Request
from unbraid.trainers.search.plan.by_hand import do
from unbraid.trainers.search.plan.plan import Assignment, Plan

PROMOTION: dict[str, Any] = {"scheduler": {"kind": "asha", "type": "promotion", "grace": 2, "reduction": 2}}
WEIGHT = "loss.info_categorical"


def asked(plan: Plan, kind: Kind, *targets: str, **what: Any) -> str:
    return do(plan, Request(kind, targets=list(targets), **what)).text


def evaluated(plan: Plan, number: int, score: float, updates: int = 2) -> str:
    return plan.record_scores(plan.trial(number, 0), updates, {"info/share": score})


def test_a_running_trial_that_is_stopped_keeps_its_place_until_it_has_ended() -> None:
    plan = Plan(parsed(), [])
    plan.next()
    assert "ends with its next sign of life" in asked(plan, "stop", "0000-s0")
    assert plan.trial(0, 0).state == "running"
    resumed = Plan(parsed(), plan.configurations)  # the driver died before the trial had ended
    assert [trial.name for trial in resumed.settle()] == ["0000-s0"]
    assert (resumed.trial(0, 0).state, resumed.trial(0, 0).cause) == ("stopped", "by hand")


@pytest.mark.parametrize("kind", ["waiting", "paused"])
def test_a_trial_that_does_not_run_is_stopped_at_once(kind: str) -> None:
    plan = Plan(parsed(**PROMOTION), [])
    plan.next()
    if kind == "paused":
        assert evaluated(plan, 0, 0.5) == "pause"
        plan.pause(plan.trial(0, 0))
    else:
        plan.give_back_all()
    asked(plan, "stop", "0000-s0")
    assert plan.trial(0, 0).state == "stopped"
    assert plan.next() == Assignment("train", 1)
    with pytest.raises(ConfigError, match="0000-s0 is stopped already"):
        asked(plan, "stop", "0000-s0")


def test_of_several_trials_none_is_stopped_when_one_cannot_be() -> None:
    plan = Plan(parsed(), [configuration(0, 0.5)])
    plan.next()
    with pytest.raises(ConfigError, match="0000-s0 is finished already"):
        asked(plan, "stop", "0001-s0", "0000-s0")
    assert plan.trial(1, 0).cause == ""


def test_a_stopped_configuration_gets_no_further_seeds() -> None:
    plan = Plan(parsed(seeds={"count": 2}), [configuration(0, 0.5)])
    asked(plan, "stop", "0000")
    assert plan.next() == Assignment("train", 1)


def test_a_repeated_trial_trains_to_its_end_whatever_the_scheduler_says() -> None:
    known = [configuration(n, 0.5, state="finished") for n in range(3)]
    known.append(configuration(3, 0.1, state="stopped", updates=2))
    plan = Plan(parsed(scheduler={"kind": "asha", "grace": 2, "reduction": 2}, budget={"trials": 4}), known)
    assert plan.next() is None
    asked(plan, "repeat", "0003-s0")
    assert not plan.over
    assert plan.next() == Assignment("train", 3)
    assert evaluated(plan, 3, -9.0, updates=4) == "continue"
    with pytest.raises(ConfigError, match=r"0000-s0 is finished; .*`repeat 0000` trains another seed"):
        asked(plan, "repeat", "0000-s0")


def test_another_seed_of_a_configuration_is_trained_beyond_the_budget() -> None:
    plan = Plan(parsed(budget={"trials": 1}), [configuration(0, 0.5)])
    assert plan.over
    asked(plan, "repeat", "0000")
    assert plan.next() == Assignment("train", 0, 1)


def test_a_pinned_trial_is_not_paused_and_an_unpinned_one_is() -> None:
    plan = Plan(parsed(**PROMOTION), [])
    for _ in range(3):
        plan.next()
    asked(plan, "pin", "0000-s0")
    assert evaluated(plan, 0, 0.1) == "continue"
    assert evaluated(plan, 1, 0.2) == "pause"
    plan.pause(plan.trial(1, 0))
    asked(plan, "pin", "0001")
    assert plan.next() == Assignment("train", 1)
    asked(plan, "unpin", "0000-s0", "0001-s0")
    assert evaluated(plan, 0, 0.1, updates=4) == "pause"


def test_points_that_are_asked_for_come_next_and_none_twice() -> None:
    plan = Plan(parsed(searcher={"kind": "tpe", "startup": 2}, budget={"trials": 9}), [configuration(0, 0.5)])
    asked(plan, "enqueue", points=[{WEIGHT: 0.3}])
    assert plan.next() == Assignment("train", 1)
    assert plan.configurations[1].params == {WEIGHT: 0.3, "optim.lr_generator": 1e-3}
    with pytest.raises(ConfigError, match="configuration 0001 has these values already"):
        asked(plan, "enqueue", points=[{WEIGHT: 5.0}, {WEIGHT: 0.3}])
    assert len(plan.configurations) == 2  # neither of them


def test_a_narrowed_space_is_proposed_from_and_what_lies_outside_gets_no_seeds() -> None:
    plan = Plan(parsed(seeds={"count": 2}, budget={"trials": 40}), [configuration(0, 0.5), configuration(1, 0.4)])
    text = asked(plan, "change", words=[f"{WEIGHT}=log(0.5,1.5)"])
    assert "log_uniform 0.1 to 10 → log_uniform 0.5 to 1.5" in text
    assert "1 of 2 configurations lie outside of the space now" in text
    assert plan.next() == Assignment("train", 0, 1)
    assert plan.next() == Assignment("train", 2)
    assert 0.5 <= plan.configurations[2].params[WEIGHT] <= 1.5
    assert plan.configurations[2].revision == 1


@pytest.mark.parametrize("kind", ["random", "grid"])
def test_a_space_of_choices_is_tried_whole_and_no_point_twice_also_after_it_has_grown(kind: str) -> None:
    space = {"codes.continuous": {"choice": [0, 1]}, "codes.categorical": {"choice": [[10], [5]]}}
    plan = Plan(parsed(space=space, searcher={"kind": kind}, budget={"trials": 99}), [])
    seen = []
    for expected in (4, 6):
        while (assignment := plan.next()) is not None:
            seen.append(str(plan.configurations[assignment.number].params))
            plan.record_end(plan.trial(assignment.number, 0), "finished")
        assert plan.over
        assert len(seen) == len(set(seen)) == expected
        asked(plan, "change", words=["codes.continuous=0|1|2"])


def test_a_grid_larger_than_spaces_are_counted_is_still_tried_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.trainers.search.campaign.space.MOST_COUNTED", 2)
    grid = parsed(space={"codes.continuous": {"choice": [0, 1, 2]}}, searcher={"kind": "grid"}, budget={})
    assert grid.max_trials == 3
    plan = Plan(grid, [])
    while (assignment := plan.next()) is not None:
        plan.record_end(plan.trial(assignment.number, 0), "finished")
    assert (len(plan.configurations), plan.over) == (3, True)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("7", "has 1 configurations"),
        ("0000-s4", "of configuration 0000 there are 0000-s0"),
        ("first", "expected a trial such as"),
    ],
)
def test_a_trial_that_is_not_there_is_named(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asked(Plan(parsed(), [configuration(0, 0.5)]), "stop", target)
