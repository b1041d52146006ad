"""Damaged records of a campaign: the rest is shown, what is lost is named, and a launch goes on from what is whole."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.trainers.search.campaigns import METRIC, campaign
from unbraid.cluster.cli import main
from unbraid.trainers.runs.record import write_config, write_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import LOST, Journal
from unbraid.trainers.search.plan.plan import Plan


@pytest.fixture
def planned(digits_folder: Path, tmp_path: Path) -> Campaign:
    return campaign(str(digits_folder), tmp_path)


def params_of(number: int) -> dict[str, float]:
    return {"loss.info_categorical": 1.0 + number, "optim.lr_generator": 1e-3}


@pytest.fixture
def journal(planned: Campaign) -> Journal:
    """Three configurations, each with a finished trial and its run's files."""
    journal = Journal.claim(planned, "test")
    for number in range(3):
        trial = Trial(number, 0, "finished", "", 8, [(8, {METRIC: 0.5 + number})], 2.0)
        journal.write_configuration(Configuration(number, params_of(number)))
        journal.write_trial(trial)
        store = journal.trial_store(trial.name)
        write_config(store, planned.trial_config(params_of(number), 0, trial.name))
        write_run(store, {"status": "finished", "step": 8, "seconds": 2.0, "evaluation": {METRIC: 0.5 + number}})
        line = f'{{"step": 8, "evaluation/{METRIC}": {0.5 + number}}}\n'
        store.put("metrics.jsonl", line.encode())
    return journal


CONTENTS = [b"", b"[]", b"null", b'{"number": 1}', b'{"a": 1}', b"\x00\xff\x80", b'{"number": 1, "par']


@pytest.mark.parametrize("content", CONTENTS)
def test_a_torn_configuration_has_the_values_of_its_run(content: bytes, journal: Journal) -> None:
    before = journal.read()
    journal.store.put("configurations/0001.json", content)
    again = Journal(journal.store)
    found = again.read()
    assert found == before
    (damaged,) = again.damaged
    assert damaged.startswith(f"{journal.store.url}/configurations/0001.json: ")
    again.repair(found)
    healed = Journal(journal.store)
    assert healed.read() == before
    assert healed.damaged == []
    assert journal.store.get(next(iter(journal.store.keys("set-aside/")))) == content


def test_values_of_another_space_are_no_configuration(journal: Journal) -> None:
    for params in ('{"no.such": 1}', '{"loss.info_categorical": "a", "optim.lr_generator": 1e-3}', "{}"):
        record = f'{{"number": 1, "params": {params}, "centrality": null, "given_up": false}}'
        journal.store.put("configurations/0001.json", record.encode())
        again = Journal(journal.store)
        assert again.read()[1].params == params_of(1)
        assert "is not of this campaign's configuration 1" in again.damaged[0]


def test_a_configuration_that_is_lost_has_failed_and_the_others_go_on(planned: Campaign, journal: Journal) -> None:
    journal.store.delete("configurations/0001.json")
    for key in journal.store.keys("trials/0001-s0/"):
        journal.store.delete(key)
    again = Journal(journal.store)
    found = again.read()
    assert [c.number for c in found] == [0, 1, 2]
    assert (found[1].trials[0].state, found[1].trials[0].cause, found[1].params) == ("failed", LOST, {})
    assert again.damaged == [f"{journal.store.url}/configurations/0001.json: is missing"]
    assignment = Plan(planned, found).next()
    assert assignment is not None
    assert assignment.number == 3


@pytest.mark.parametrize("content", CONTENTS)
def test_a_torn_trial_is_what_its_run_says(content: bytes, journal: Journal) -> None:
    before = journal.read()
    journal.store.put("trials/0001-s0/trial.json", content)
    again = Journal(journal.store)
    found = again.read()
    assert found == before
    assert "trials/0001-s0/trial.json" in again.damaged[0]
    again.repair(found)
    assert Journal(journal.store).read() == before


def test_what_is_far_from_all_others_is_left_out(journal: Journal) -> None:
    before = journal.read()
    journal.store.put("configurations/999999999.json", journal.store.get("configurations/0001.json"))
    journal.store.put("configurations/00001.json", b"{}")
    journal.store.put("configurations/0001.json (copy)", b"{}")
    journal.store.put("trials/0001-s0 (copy)/trial.json", b"{}")
    again = Journal(journal.store)
    assert again.read() == before
    assert all("999999999" in message for message in again.damaged)


@pytest.mark.parametrize("file", ["campaign.json", "configurations/0001.json", "trials/0001-s0/trial.json"])
def test_status_and_report_name_what_is_damaged_and_show_the_rest(file: str, journal: Journal, tmp_path: Path) -> None:
    journal.store.put(file, b'{"torn')
    for command in ("status", "report"):
        result = CliRunner().invoke(main, ["tune", command, "tiny", "--storage", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert [line for line in result.stderr.splitlines() if line.startswith(f"damaged: {journal.store.url}/{file}: ")]
    assert file in journal.store.get("report.html").decode()
    Journal(journal.store).set_status(status="running")
    assert Journal(journal.store).status()["status"] == "running"
