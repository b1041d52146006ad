"""The configurations that a campaign tries first."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.search.campaigns import campaign, configuration, parsed
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import CONFIG_KEY, write_config
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import FILE_KEY, Journal
from unbraid.trainers.search.campaign.starts import check_starts, starting_points
from unbraid.trainers.search.plan.plan import Assignment, Plan

OF_PRESET = {"loss.info_categorical": 1.0, "optim.lr_generator": 1e-3}


def started(*entries: Any, **change: Any) -> list[dict[str, Any]]:
    return starting_points(parsed(start_from=list(entries), **change))


def test_values_and_the_preset_are_tried_first_each_once(tmp_path: Path, digits_folder: Path) -> None:
    entries = [{"loss.info_categorical": 0.5}, "preset", dict(OF_PRESET)]
    planned = campaign(str(digits_folder), tmp_path, start_from=entries)
    points = starting_points(planned)
    assert points == [OF_PRESET | {"loss.info_categorical": 0.5}, OF_PRESET]
    plan = Plan(planned, Journal.claim(planned, "test", points).read())
    assert [plan.next() for _ in range(3)] == [Assignment("train", number) for number in range(3)]
    assert [configuration.params for configuration in plan.configurations][:2] == points
    assert [configuration.asked for configuration in plan.configurations] == [True, True, False]


def test_a_grid_is_tried_whole_after_them_and_nothing_twice() -> None:
    planned = parsed(space={"codes.continuous": {"choice": [0, 1, 2]}}, searcher={"kind": "grid"}, budget={})
    plan = Plan(planned, [Configuration(0, {"codes.continuous": 2}, {0: Trial(0, 0)}, asked=True)])
    for _ in range(4):
        plan.next()
    assert [c.params["codes.continuous"] for c in plan.configurations] == [2, 0, 1]


def test_a_campaign_that_has_begun_goes_on_though_its_starts_have_changed_or_are_gone(
    tmp_path: Path, digits_folder: Path
) -> None:
    store = open_run(str(tmp_path), "a-run", create=True)
    write_config(store, resolve("infogan-mnist-small", ["loss.info_categorical=0.25"]))
    planned = campaign(str(digits_folder), tmp_path / "campaigns", start_from=[str(tmp_path / "a-run")])
    journal = Journal.claim(planned, "test", starting_points(planned))
    write_config(store, resolve("infogan-mnist-small", ["loss.info_categorical=7"]))
    check_starts(planned)
    assert Journal.claim(planned, "test", []).read()[0].params["loss.info_categorical"] == 0.25
    store.delete(CONFIG_KEY)
    check_starts(planned)
    journal.store.delete(FILE_KEY)
    with pytest.raises(ConfigError, match="a-run"):
        check_starts(planned)


def test_a_run_and_the_best_of_a_campaign_are_taken(tmp_path: Path, digits_folder: Path) -> None:
    store = open_run(str(tmp_path), "a-run", create=True)
    write_config(store, resolve("infogan-mnist-small", ["loss.info_categorical=0.25"]))
    (of_run,) = started(str(tmp_path / "a-run"))
    assert of_run["loss.info_categorical"] == 0.25
    other = campaign(str(digits_folder), tmp_path, objectives=[{"metric": "info/share"}], budget={"trials": 9})
    journal = Journal.claim(other, "test")
    for number, score in enumerate((0.1, 0.9, 0.5, 0.7)):
        one = configuration(number, score)
        journal.write_configuration(one)
        journal.write_trial(one.trials[0])
    assert [point["loss.info_categorical"] for point in started(str(tmp_path / "tiny"))] == [2.0, 4.0, 3.0]


def test_more_starts_than_the_budget_allows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"has 2 points, and budget\.trials=1 allows fewer"):
        started({"loss.info_categorical": 0.5}, "preset", budget={"trials": 1})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"loss.info_categorical": 50.0}, "loss.info_categorical=50.0 lies outside of the space"),
        ({"loss.info_categorical": "much"}, "is no point of the space"),
        ({"loss.info_categoricel": 1.0}, "loss.info_categoricel is not searched; searched are loss.info_categorical"),
        ("nowhere", "expected values, `preset`, or the folder or URL of a run or a campaign"),
    ],
)
def test_a_start_that_does_not_fit_is_named(entry: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        started(entry)


def test_a_run_of_another_system_is_no_start(tmp_path: Path) -> None:
    write_config(open_run(str(tmp_path), "other", create=True), resolve("cdd-mnist-cdcb-small"))
    with pytest.raises(ConfigError, match="is a run of cdd, and the campaign's preset of infogan"):
        started(str(tmp_path / "other"))
