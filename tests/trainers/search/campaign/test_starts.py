"""The configurations that a campaign tries first."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.search.campaigns import campaign, configuration, parsed
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import write_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.starts import with_starts
from unbraid.trainers.search.plan.plan import Plan

OF_PRESET = {"loss.info_categorical": 1.0, "optim.lr_generator": 1e-3}


def started(*entries: Any, **change: Any) -> Campaign:
    return with_starts(parsed(start_from=list(entries), **change))


def first_params(planned: Campaign, count: int) -> list[dict[str, Any]]:
    plan = Plan(planned, [])
    for _ in range(count):
        plan.next()
    return [configuration.params for configuration in plan.configurations]


def test_values_and_the_preset_are_tried_first_each_once() -> None:
    planned = started({"loss.info_categorical": 0.5}, "preset", dict(OF_PRESET))
    assert planned.start_from == [OF_PRESET | {"loss.info_categorical": 0.5}, OF_PRESET]
    params = first_params(planned, 3)
    assert params[:2] == planned.start_from
    assert params[2] not in planned.start_from
    assert with_starts(planned).start_from == planned.start_from  # as the storage holds it


def test_a_grid_is_tried_whole_after_them_and_nothing_twice() -> None:
    space = {"codes.continuous": {"choice": [0, 1, 2]}}
    planned = started({"codes.continuous": 2}, space=space, searcher={"kind": "grid"}, budget={})
    assert [params["codes.continuous"] for params in first_params(planned, 4)] == [2, 0, 1]


def test_a_run_and_the_best_of_a_campaign_are_taken(tmp_path: Path, digits_folder: Path) -> None:
    store = open_run(str(tmp_path), "a-run", create=True)
    write_config(store, resolve("infogan-mnist-small", ["loss.info_categorical=0.25"]))
    (of_run,) = started(str(tmp_path / "a-run")).start_from
    assert isinstance(of_run, dict)
    assert of_run["loss.info_categorical"] == 0.25
    other = campaign(str(digits_folder), tmp_path, objectives=[{"metric": "info/share"}], budget={"trials": 9})
    journal = Journal.claim(other, "test")
    for number, score in enumerate((0.1, 0.9, 0.5, 0.7)):
        one = configuration(number, score)
        journal.write_configuration(one)
        journal.write_trial(one.trials[0])
    found = started(str(tmp_path / "tiny")).start_from
    assert [point["loss.info_categorical"] for point in found if isinstance(point, dict)] == [2.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"loss.info_categorical": 50.0}, "loss.info_categorical=50.0 lies outside of the space"),
        ({"loss.info_categorical": "much"}, "is no point of the space"),
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
