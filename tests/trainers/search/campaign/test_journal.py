"""The journal of a campaign: what one launch writes, the next one reads."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.trainers.search.campaigns import campaign, configuration
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.history import Configuration, Descent, Trial
from unbraid.trainers.search.campaign.journal import FILE_KEY, Journal

PARAMS: dict[str, JsonValue] = {"loss.info_categorical": 1.0, "optim.lr_generator": 1e-3}


@pytest.fixture
def journal(digits_folder: Path, tmp_path: Path) -> Journal:
    return Journal.claim(campaign(str(digits_folder), tmp_path), "test")


def test_what_was_written_is_read_again(journal: Journal) -> None:
    trial = Trial(0, 0, "failed", "diverged: loss/d", 6, [(2, {"info/share": 0.5}), (6, {"info/share": 0.25})], 3.5)
    journal.write_configuration(Configuration(0, PARAMS, centrality={0: 0.5, 1: 0.75}, given_up=True))
    journal.write_trial(trial)
    (found,) = Journal(journal.store).read()
    assert (found.params, found.centrality, found.given_up) == (PARAMS, {0: 0.5, 1: 0.75}, True)
    assert found.trials == {0: trial}


def test_a_configuration_without_trials_was_interrupted_before_its_first(journal: Journal) -> None:
    journal.write_configuration(Configuration(0, PARAMS))
    (found,) = Journal(journal.store).read()
    assert found.trials == {0: Trial(0, 0, "waiting")}


def test_a_member_that_copied_others_has_the_values_that_it_copied_last(journal: Journal) -> None:
    descents = [Descent(at, "0001-s0", PARAMS | {"loss.info_categorical": weight}) for at, weight in ((4, 2.0), (8, 3.0))]
    journal.write_configuration(Configuration(0, PARAMS, descents=descents))
    journal.write_trial(Trial(0, 0, "running"))
    (found,) = Journal(journal.store).read()
    assert found.descents == descents
    assert found.params["loss.info_categorical"] == 3.0
    assert [found.params_at(at)["loss.info_categorical"] for at in (4, 8, 12)] == [1.0, 2.0, 3.0]


def test_budget_and_resources_may_change_and_the_search_may_not(journal: Journal, digits_folder: Path, tmp_path: Path) -> None:
    larger = campaign(str(digits_folder), tmp_path, budget={"trials": 9}, resources={"cpus": 2}, keep=1, failures=5)
    assert Journal.claim(larger, "test").campaign().budget.trials == 9
    space = {"loss.info_categorical": {"log_uniform": [0.1, 5.0]}}
    with pytest.raises(ConfigError, match="was started from another file") as caught:
        Journal.claim(campaign(str(digits_folder), tmp_path, space=space, fixed={"run.updates": 9}), "test")
    lines = [line.strip() for line in str(caught.value).splitlines()[1:-1]]
    assert lines == [
        "fixed.run.updates: 8 there, 9 in the file",
        "space.loss.info_categorical.log_uniform: [0.1, 10.0] there, [0.1, 5.0] in the file",
        "space.optim.lr_generator.log_uniform: [0.0001, 0.01] there, None in the file",
    ]
    assert "budget.trials" in str(caught.value)  # among the keys that may change


def test_a_campaign_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such campaign"):
        Journal.open(str(tmp_path), "nobody")


def test_a_campaign_whose_file_was_lost_goes_on_with_its_history(journal: Journal, tmp_path: Path, digits_folder: Path) -> None:
    one = configuration(0, 0.5)
    journal.write_configuration(one)
    journal.write_trial(one.trials[0])
    journal.store.delete(FILE_KEY)
    again = Journal.claim(campaign(str(digits_folder), tmp_path), "test", [{"loss.info_categorical": 9.0}])
    assert [(c.params, c.trials[0].state) for c in again.read()] == [(one.params, "finished")]


def test_the_leftovers_of_a_claim_that_was_cut_off_are_no_history(tmp_path: Path, digits_folder: Path) -> None:
    planned = campaign(str(digits_folder), tmp_path)
    first = Journal.claim(planned, "test", [configuration(n, 0.1).params for n in range(3)])
    first.store.delete(FILE_KEY)  # which is written last
    again = Journal.claim(planned, "test", [configuration(7, 0.1).params])
    assert [c.params for c in again.read()] == [configuration(7, 0.1).params]
