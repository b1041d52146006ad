"""Changes of a campaign that has begun: what is searched from then on, and which configurations stay within it."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.search.campaigns import campaign, configuration, parsed
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import write_config
from unbraid.trainers.search.campaign.changes import changed, differences_text
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.space import LogUniform

WEIGHT, RATE = "loss.info_categorical", "optim.lr_generator"
CONDITIONAL: dict[str, Any] = {
    "augment.enabled": {"choice": [True, False]},
    "augment.degrees": {"uniform": [5.0, 25.0], "when": {"augment.enabled": True}},
}


def bounds(planned: Campaign, path: str) -> tuple[float, float]:
    dimension = planned.space[path]
    assert isinstance(dimension, LogUniform)
    return dimension.log_uniform


def points(planned: Campaign, *configurations: Configuration) -> list[dict[str, Any] | None]:
    return [configuration.point(planned) for configuration in configurations]


def test_a_wider_space_holds_all_that_was_tried_and_a_narrower_one_what_lies_within() -> None:
    before, tried = parsed(), [configuration(number, 0.1) for number in range(3)]  # weights of 1, 2 and 3
    wider = changed(before, [f"{WEIGHT}=log(0.01,100)"])
    assert bounds(wider, WEIGHT) == (0.01, 100)
    assert points(wider, *tried) == [c.params for c in tried]
    narrower = changed(wider, [f"{WEIGHT}=log(0.1,2.5)"])
    assert points(narrower, *tried) == [tried[0].params, tried[1].params, None]
    assert narrower.revision == 2
    assert bounds(narrower.at(1), WEIGHT) == (0.01, 100)
    assert narrower.at(0) == before


def test_a_frozen_parameter_is_fixed_and_only_trials_with_its_value_stay_within() -> None:
    before = parsed()
    frozen = changed(before, [f"{WEIGHT}=2.0"])
    assert list(frozen.space) == [RATE]
    assert frozen.fixed[WEIGHT] == 2.0
    assert points(frozen, configuration(0, 0.1), configuration(1, 0.1)) == [None, {RATE: 1e-3}]
    again = changed(frozen, [f"{WEIGHT}=log(0.1,10)"])
    assert WEIGHT not in again.fixed
    later = Configuration(5, {RATE: 2e-3}, revision=1)
    assert points(again, configuration(0, 0.1), later) == [{WEIGHT: 1.0, RATE: 1e-3}, {WEIGHT: 2.0, RATE: 2e-3}]


def test_a_key_that_was_not_searched_has_the_presets_value_in_what_was_tried() -> None:
    added = changed(parsed(), ["optim.lr_discriminator=log(1e-5,1e-2)"])
    preset = added.at(0).trial_config({}, 0, "").model_dump()["optim"]["lr_discriminator"]
    assert points(added, configuration(0, 0.1)) == [configuration(0, 0.1).params | {"optim.lr_discriminator": preset}]


def test_what_was_tried_is_trained_as_it_was_begun() -> None:
    before = parsed()
    frozen = changed(before, [f"{WEIGHT}=2.0"])
    started = configuration(0, 0.1)
    assert frozen.at(started.revision).trial_config(started.params, 0, "t") == before.trial_config(started.params, 0, "t")


def test_freezing_a_choice_drops_or_frees_what_depended_on_it() -> None:
    before = parsed(space=CONDITIONAL)
    assert list(changed(parsed(space=CONDITIONAL | {WEIGHT: {"uniform": [1, 2]}}), ["augment.enabled=false"]).space) == [WEIGHT]
    on = changed(before, ["augment.enabled=true"])
    assert on.space["augment.degrees"].when == {}
    tried = [Configuration(0, {"augment.enabled": True, "augment.degrees": 9.0}), Configuration(1, {"augment.enabled": False})]
    assert points(on, *tried) == [{"augment.degrees": 9.0}, None]
    narrower = changed(before, ["augment.degrees=uniform(5,8)"])
    assert narrower.space["augment.degrees"].when == {"augment.enabled": True}
    assert points(narrower, *tried) == [None, {"augment.enabled": False}]


def test_a_budget_changes_without_another_space() -> None:
    larger = changed(parsed(), ["budget.trials=9", "keep=1"])
    assert (larger.budget.trials, larger.keep, larger.revision) == (9, 1, 0)
    assert differences_text(parsed(), larger) == "budget trials 4 → trials 9; keep 3 → 1"


def test_configurations_outside_rank_last() -> None:
    tried = [configuration(0, 0.1), configuration(1, 0.9)]
    assert [c.number for c in ranked(tried, parsed())] == [1, 0]
    assert [c.number for c in ranked(tried, changed(parsed(), [f"{WEIGHT}=log(0.1,1.5)"]))] == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss.info_categorical=log(5,1)"], "the first must be less than the second"),
        (["loss.info_categorical=log(0.1,10"], "expected log"),
        (["optim.lr_discriminator=1e-3"], "is not searched, so it cannot be frozen; searched are loss.info_categorical"),
        (["run.updates=99"], "run.updates=99: is not searched"),
        (["run.updates=5..9"], "run.updates is not searched, because"),
        (["seeds.count=3"], "seeds.count: cannot change while a campaign has results"),
        (["loss.info_categorical"], "expected section.key=RANGE"),
        (["loss.info_categorical=1", "optim.lr_generator=1e-3"], "nothing would be searched any more"),
        (["codes.continuous=0..-2"], "the first must be less than the second"),
    ],
)
def test_a_change_that_does_not_fit_is_one_error(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(parsed(), words)
    assert message in str(caught.value)


def test_a_population_keeps_its_space() -> None:
    with pytest.raises(ConfigError, match="members have copied each other's values"):
        changed(parsed(scheduler={"kind": "pbt", "every": 2}), [f"{WEIGHT}=log(0.1,5)"])


def test_a_torn_configuration_is_of_the_space_that_gives_its_run(tmp_path: Path, digits_folder: Path) -> None:
    """The newest space holds its values too, but would train it with another weight."""
    first = campaign(str(digits_folder), tmp_path)
    journal = Journal.claim(first, "test")
    params = {WEIGHT: 3.0, RATE: 1e-3}
    journal.write_configuration(Configuration(0, params))
    write_config(open_run(first.trials_storage, "0000-s0", create=True), first.trial_config(params, 0, "0000-s0"))
    journal.write_campaign(changed(first, [f"{WEIGHT}=2.0"]))
    journal.store.put("configurations/0000.json", b"{")
    (found,) = Journal(journal.store).read()
    assert (found.revision, found.params) == (0, params)
    assert found.point(journal.campaign()) is None


def test_the_file_that_began_a_campaign_goes_on_with_what_it_has_become(tmp_path: Path, digits_folder: Path) -> None:
    first = campaign(str(digits_folder), tmp_path)
    journal = Journal.claim(first, "test")
    journal.write_campaign(changed(journal.campaign(), [f"{WEIGHT}=log(0.1,100)", f"{RATE}=1e-3"]))
    again = Journal.claim(first.model_copy(update={"keep": 1}), "test").campaign()
    assert (list(again.space), again.keep, again.revision) == ([WEIGHT], 1, 1)
    other = campaign(str(digits_folder), tmp_path, objectives=[{"metric": "info/share"}])
    with pytest.raises(ConfigError, match="was started from another file"):
        Journal.claim(other, "test")
