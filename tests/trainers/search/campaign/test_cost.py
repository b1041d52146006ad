"""The cost of a campaign before it starts."""

import pytest

from tests.trainers.search.campaigns import parsed
from unbraid.trainers.search.campaign.cost import asha_updates, campaign_cost, flops_per_update


def test_successive_halving_costs_what_its_rungs_say() -> None:
    assert asha_updates(9, (10, 30), 3, 90) == 9 * 10 + 3 * 20 + 60


@pytest.fixture(autouse=True)
def _one_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.trainers.search.campaign.cost.CORNERS_COUNTED", 1)


def test_a_wider_network_costs_more() -> None:
    wide = {"networks.generator": {"hidden": 64, "start_channels": 8, "layers": [{"channels": 8}]}}
    assert min(flops_per_update(parsed(fixed=wide))) > max(flops_per_update(parsed()))


def test_the_cost_names_trials_updates_and_operations() -> None:
    trials, operations, hours = campaign_cost(parsed(budget={"trials": 5, "updates": 32}))
    assert trials == "at most 5 trials of 8 updates: 40 updates, within budget.updates=32"
    assert "GFLOP an update" in operations
    assert "about two CPU cores" in hours


def test_a_system_that_needs_other_runs_has_a_cost_in_updates_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from unbraid.trainers.errors import ConfigError

    def build(*arguments: object) -> None:
        raise ConfigError("inputs.appearance: no such run")

    monkeypatch.setattr("unbraid.trainers.launch.price.build_system", build)
    assert campaign_cost(parsed()) == ["at most 4 trials of 8 updates: 32 updates"]


def test_more_workers_make_the_same_updates() -> None:
    assert campaign_cost(parsed(resources={"workers": 2})) == campaign_cost(parsed())
