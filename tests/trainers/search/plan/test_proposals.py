"""Proposals of configurations: functions of what is known."""

import math
import random

from tests.trainers.search.campaigns import configuration, parsed
from unbraid.trainers.search.campaign.history import Configuration, State
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.plan.proposals import propose, study_of


def test_a_proposal_depends_on_what_is_known_and_not_on_the_process() -> None:
    tpe = parsed(searcher={"kind": "tpe", "startup": 2}, budget={"trials": 12})
    known = [configuration(n, 0.1 * n) for n in range(6)]
    again = [configuration(n, 0.1 * n) for n in range(6)]
    others = [configuration(n, -0.1 * n) for n in range(6)]
    assert propose(tpe, 6, known) == propose(tpe, 6, again)
    assert propose(tpe, 6, known) != propose(tpe, 6, others)
    assert propose(tpe, 1, known) == propose(tpe, 1, [])  # one of the first, which are random


def test_draws_of_a_configuration_do_not_depend_on_other_draws() -> None:
    random.seed(3)
    first = propose(parsed(), 2, [])
    random.seed(4)
    assert propose(parsed(), 2, []) == first
    assert propose(parsed(), 3, []) != first
    assert propose(parsed(seed=1), 2, []) != first


def test_a_grid_proposes_each_point_and_then_none() -> None:
    grid = parsed(searcher={"kind": "grid"}, space={"codes.continuous": {"choice": [0, 2]}}, budget={})
    known: list[Configuration] = []
    while (point := propose(grid, len(known), known)) is not None:
        known.append(Configuration(len(known), point))
    assert [c.params for c in known] == [{"codes.continuous": 0}, {"codes.continuous": 2}]


def test_tpe_comes_nearer_to_the_best_than_random_draws() -> None:
    def play(kind: str, seed: int) -> float:
        plan = Plan(parsed(searcher={"kind": kind, "startup": 6}, budget={"trials": 24}, seed=seed), [])
        scores = []
        while (assignment := plan.next()) is not None:
            values = plan.configurations[assignment.number].params
            distance = abs(math.log(values["loss.info_categorical"])) + abs(math.log(values["optim.lr_generator"] / 1e-3))
            scores.append(-distance)
            trial = plan.trial(assignment.number, 0)
            plan.record_scores(trial, 8, {"info/share": scores[-1]})
            plan.record_end(trial, "finished")
        return max(scores)

    wins = sum(play("tpe", seed) > play("random", seed) for seed in range(5))
    assert wins >= 4


def states_in_study(*configurations: Configuration, **change: object) -> list[str]:
    return [trial.state.name for trial in study_of(parsed(**change), list(configurations)).trials]


def test_the_study_holds_partial_and_failed_configurations_as_pruned() -> None:
    states: tuple[State, ...] = ("finished", "stopped", "failed", "running")
    configurations = [configuration(n, 0.4, state=state) for n, state in enumerate(states)]
    configurations[3].trials[0].rungs = []
    assert states_in_study(*configurations) == ["COMPLETE", "PRUNED", "PRUNED", "RUNNING"]


def test_with_several_objectives_the_study_holds_partial_configurations_as_failed() -> None:
    two = [{"metric": "info/share"}, {"metric": "quality/coverage"}]
    partial = configuration(1, 0.4, state="stopped")
    assert states_in_study(configuration(0, 0.4), partial, objectives=two) == ["COMPLETE", "FAIL"]
