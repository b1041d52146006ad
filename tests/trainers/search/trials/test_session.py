"""A launch of a campaign without Ray: what becomes of trials that report, end or are cut."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.search.campaigns import METRIC, campaign
from unbraid.datasets.errors import DataError
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials.session import Session


@pytest.fixture
def session(digits_folder: Path, tmp_path: Path) -> Session:
    planned = campaign(str(digits_folder), tmp_path, budget={"trials": 3, "minutes": 1})
    return Session(planned, Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)


def result(score: float, updates: int = 8, **more: Any) -> dict[str, Any]:
    return {"updates": updates, "scores": json.dumps({METRIC: score}), "seconds": 1.0, **more}


def states(session: Session) -> list[str]:
    return [trial.state for configuration in session.journal.read() for trial in configuration.trials.values()]


def test_an_end_that_tune_decided_is_a_stop_and_one_that_was_told_is_none(session: Session) -> None:
    assert session.start("a", room=3) is not None
    assert session.start("b", room=3) is not None
    assert session.start("c", room=2) is None
    session.complete("a", result(0.1, updates=2), error=False)
    session.complete("b", result(0.2, outcome="finished"), error=False)
    assert states(session) == ["stopped", "finished"]
    assert session.journal.read()[0].trials[0].rungs == [(2, {METRIC: 0.1})]


def test_a_trial_that_was_given_up_has_failed_with_what_was_said_of_it(session: Session) -> None:
    session.start("a", room=3)
    session.errors["a"] = "lost: the node died"
    session.complete("a", None, error=True)
    (trial,) = (t for c in session.journal.read() for t in c.trials.values())
    assert (trial.state, trial.cause) == ("failed", "lost: the node died")


def test_what_is_cut_goes_on_later(session: Session) -> None:
    session.start("a", room=3)
    session.result("a", {"halt": "disk full"})
    session.complete("a", {"halt": "disk full"}, error=False)
    assert session.tick()
    assert states(session) == ["running"]
    assert session.start("b", room=3) is None
    session.close()
    assert session.journal.status()["status"] == "failed"
    assert session.journal.status()["message"] == "disk full"
    assert Plan(session.campaign, session.journal.read()).next() is not None


def test_a_storage_that_fails_under_the_driver_ends_the_campaign_in_order_mocked_store(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise DataError("configurations/0000.json: No space left on device")

    monkeypatch.setattr(session.journal.store, "put", full)
    assert session.start("a", room=3) is None
    assert session.ending.halted == "configurations/0000.json: No space left on device"
    session.close()  # cannot write its status either, and says nothing twice


def test_a_configuration_that_was_given_up_stays_so_for_whoever_reads_the_journal(digits_folder: Path, tmp_path: Path) -> None:
    planned = campaign(str(digits_folder), tmp_path, seeds={"count": 2, "promising": 0.5}, budget={"trials": 8})
    session = Session(planned, Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)
    for name in ("a", "b"):
        session.start(name, room=9)
    session.complete("a", result(0.1, outcome="finished"), error=False)
    session.complete("b", result(0.9, outcome="finished"), error=False)
    task = session.start("c", room=9)
    assert task is not None
    assert (task["number"], task["seed"]) == (1, 1)
    assert [configuration.given_up for configuration in session.journal.read()] == [True, False]


def test_minutes_of_all_launches_count(session: Session) -> None:
    assert not session.tick()
    session.journal.set_status(seconds=61.0)
    later = Session(session.campaign, session.plan, session.journal, lambda plan: None)
    assert later.tick()
    assert later.ending.out_of_time
