"""A campaign's own model: rungs, trials, and the configurations of trials."""

import pytest

from tests.trainers.search.campaigns import content, parsed
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import differences, effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.sections import decided_keys

TWO = [{"metric": "info/share"}, {"metric": "quality/coverage"}]


def test_the_median_rule_compares_one_measure_and_halving_compares_all_objectives() -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.metric: the median rule compares one measure"):
        parsed(objectives=TWO, scheduler={"kind": "median", "every": 2})
    halving = {"kind": "asha", "grace": 2}
    assert parsed(objectives=TWO, scheduler=halving).rungs == (2, 6)
    assert len(parsed(objectives=TWO, scheduler=halving).scheduler_objectives) == 2
    assert len(parsed(objectives=TWO, scheduler=halving | {"metric": "info/share"}).scheduler_objectives) == 1


def test_rungs_of_hyperband_are_the_budget_divided_by_powers_of_its_reduction() -> None:
    assert parsed(scheduler={"kind": "hyperband", "grace": 1, "reduction": 2}).rungs == (1, 2, 4)
    assert parsed(scheduler={"kind": "hyperband", "grace": 3, "reduction": 2}).rungs == (4,)


def test_rungs_of_a_scheduler_that_looks_regularly_lie_before_the_end() -> None:
    assert parsed(scheduler={"kind": "median", "every": 2}).rungs == (2, 4, 6)
    assert parsed().rungs == ()


def test_a_grid_has_as_many_trials_as_points_and_seeds() -> None:
    grid = {"searcher": {"kind": "grid"}, "space": {"codes.continuous": {"choice": [0, 1, 2]}}, "seeds": {"count": 2}}
    assert parsed(**grid, budget={}).max_trials == 6
    assert parsed(**grid, budget={"trials": 4}).max_trials == 4


def test_trials_of_a_configuration_differ_only_in_seed_and_name() -> None:
    campaign = parsed(seeds={"count": 2}, seed=5)
    first, second = (campaign.trial_config({"loss.info_categorical": 0.5}, seed, f"t{seed}") for seed in (0, 1))
    assert differences(first, second) == {"run.seed": (5, 6), "run.name": ("t0", "t1")}


@pytest.mark.parametrize("scheduler", [{"kind": "none"}, {"kind": "asha", "grace": 2}, {"kind": "pbt", "every": 2}])
def test_whatever_a_campaign_sets_in_its_trials_is_marked_as_decided_by_it(scheduler: dict[str, object]) -> None:
    """So that it is refused under ``fixed`` instead of being ignored there."""
    planned = parsed(scheduler=scheduler, seed=3, failures=7, resources={"cpus": 2, "gpus": 0.5}, storage="elsewhere")
    fixed = resolve(planned.preset, [f"{path}={value!r}" for path, value in content(scheduler=scheduler)["fixed"].items()])
    set_here = differences(fixed, planned.trial_config({}, 0, "named")).keys()
    assert {"run.seed", "run.max_failures", "run.cpus", "run.gpus", "run.storage", "run.name"} <= set_here
    assert ("run.checkpoint_every" in set_here) == (scheduler["kind"] == "pbt")
    assert set_here <= decided_keys(planned).keys()


def test_keys_that_a_campaign_may_change_are_marked_and_none_of_its_search_is() -> None:
    marked = effects(Campaign)
    assert {"budget.trials", "budget.minutes", "concurrency", "keep", "resources.gpus", "storage", "failures"} <= marked.keys()
    search = ("preset", "fixed", "space", "objectives", "labels", "searcher", "scheduler", "seeds", "seed")
    assert not [key for key in marked if key.split(".")[0] in search]
