"""Requests of persons on their way: left in the storage, done by the driver, recorded, and answered once."""

from pathlib import Path

import pytest

from tests.trainers.search.campaigns import METRIC, campaign
from tests.trainers.search.trials.launching import trials_of
from unbraid.trainers.runs.record import read_run, write_run
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.requests import Inbox, Request, asked_here
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials import session as session_module
from unbraid.trainers.search.trials.driver import run_campaign
from unbraid.trainers.search.trials.reports import Report
from unbraid.trainers.search.trials.session import Session

WEIGHT = "loss.info_categorical"


def begun(data: Path, storage: Path) -> Session:
    planned = campaign(str(data), storage, budget={"trials": 3})
    return Session(Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)


def test_a_running_trial_ends_with_its_next_report_also_after_the_driver_has_died(digits_folder: Path, tmp_path: Path) -> None:
    session = begun(digits_folder, tmp_path)
    session.start_next("a", room=3)
    session.start_next("b", room=3)
    inbox = Inbox(session.journal.store)
    name = inbox.put(asked_here("stop", targets=["0000-s0", "0001-s0"]))
    session.do_requests()
    assert inbox.waiting() == {}
    answer = inbox.answer_to(name)
    assert answer is not None
    assert not answer.refused
    assert session.on_report("a", Report(updates=1))  # a sign of life
    session.on_end("a", Report(updates=1))
    later = Session(Plan(session.campaign, session.journal.read()), session.journal, lambda plan: None)
    assert later.start_next("c", room=3) is not None
    ended = trials_of(session.journal.read())
    assert {name: (trial.state, trial.cause) for name, trial in ended.items() if trial.ended} == {
        "0000-s0": ("stopped", "by hand"),
        "0001-s0": ("stopped", "by hand"),
    }


def test_a_change_is_in_the_storage_and_a_refusal_changes_nothing(digits_folder: Path, tmp_path: Path) -> None:
    session = begun(digits_folder, tmp_path)
    inbox = Inbox(session.journal.store)
    inbox.put(asked_here("change", words=[f"{WEIGHT}=log(0.5,2)"]))
    inbox.put(asked_here("enqueue", points=[{WEIGHT: 1.5}]))
    inbox.put(asked_here("enqueue", points=[{WEIGHT: 50.0}]))
    session.journal.store.put("requests/note.txt", b"not ours")
    session.do_requests()
    read = session.journal.read()
    assert Journal(session.journal.store).campaign().former == session.campaign.former != []
    assert [(c.revision, c.asked, c.params[WEIGHT]) for c in read] == [(1, True, 1.5)]
    assert [answer.refused for answer in inbox.answers()] == [False, False, True]
    assert "lies outside of the space" in inbox.answers()[2].outcome


def test_a_failed_trial_is_repeated_from_its_checkpoint(digits_folder: Path, tmp_path: Path) -> None:
    session = begun(digits_folder, tmp_path)
    session.start_next("a", room=1)
    session.on_end("a", Report(outcome="failed", cause="failed: no luck"))
    run = session.journal.trial_store("0000-s0")
    write_run(run, {"status": "failed", "message": "failed: no luck"})
    Inbox(session.journal.store).put(asked_here("repeat", targets=["0000-s0"]))
    session.do_requests()
    assert read_run(run)["status"] == "stopped"  # a failed run would not go on
    task = session.start_next("b", room=1)
    assert task is not None
    assert (task["number"], task["seed"]) == (0, 0)


def test_a_driver_on_ray_does_what_is_asked_while_trials_run(
    address: str, digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = campaign(str(digits_folder), tmp_path, budget={"trials": 3}, concurrency=1, fixed={"run.updates": 8})
    journal = Journal.claim(planned, "test")
    requests = [
        asked_here("change", words=[f"{WEIGHT}=log(2,3)", "budget.trials=4"]),
        asked_here("stop", targets=["0000-s0"]),
        Request("enqueue", points=[{WEIGHT: 2.5}]),
    ]

    def ask_once(plan: Plan) -> None:
        if requests and plan.configurations:
            for request in requests:
                Inbox(journal.store).put(request)
            requests.clear()

    monkeypatch.setattr(session_module, "SECONDS_BETWEEN_REQUESTS", 0.0)
    plan, stop = run_campaign(journal, planned, address, ask_once)
    assert not stop.any
    trials = trials_of(journal.read())
    assert trials.pop("0000-s0").state in ("stopped", "finished")  # it may have ended before its next report
    assert {trial.state for trial in trials.values()} == {"finished"}
    weights = [c.params[WEIGHT] for c in journal.read()[1:]]
    assert weights[0] == 2.5
    assert len(weights) == 3
    assert all(2 <= weight <= 3 for weight in weights)
    assert all(METRIC in trial.scores for trial in trials.values())
    assert plan.over
