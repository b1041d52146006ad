"""A launch of a campaign without Ray: the tests report and end trials in its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.search.campaigns import METRIC, campaign
from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import RunError
from unbraid.trainers.search.campaign.history import Descent
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials import session as session_module
from unbraid.trainers.search.trials.reports import Outcome, Report
from unbraid.trainers.search.trials.session import Session, loss_cause
from unbraid.trainers.search.trials.tune_adapters import SessionCallback, SessionSearcher


def session_of(data: Path, storage: Path, **change: Any) -> Session:
    planned = campaign(str(data), storage, **change)
    return Session(Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)


@pytest.fixture
def session(digits_folder: Path, tmp_path: Path) -> Session:
    return session_of(digits_folder, tmp_path, budget={"trials": 3, "minutes": 1})


def evaluated(score: float, updates: int = 8, outcome: Outcome | None = None) -> Report:
    return Report(updates=updates, scores={METRIC: score}, seconds=1.0, outcome=outcome)


def states(session: Session) -> list[str]:
    return [trial.state for configuration in session.journal.read() for trial in configuration.trials.values()]


def test_a_trial_ends_as_the_scheduler_has_said(digits_folder: Path, tmp_path: Path) -> None:
    session = session_of(digits_folder, tmp_path, scheduler={"kind": "asha", "grace": 2, "reduction": 2})
    assert session.start_next("a", room=3) is not None
    assert session.start_next("b", room=3) is not None
    assert session.start_next("c", room=2) is None
    assert not session.on_report("a", evaluated(0.2, updates=2))
    assert session.on_report("b", evaluated(0.1, updates=2))
    session.on_end("b", evaluated(0.1, updates=2))
    assert session.on_report("a", evaluated(0.2, outcome="finished"))
    session.on_end("a", evaluated(0.2, outcome="finished"))
    assert states(session) == ["finished", "stopped"]
    assert session.journal.read()[1].trials[0].rungs == [(2, {METRIC: 0.1})]


def test_a_trial_that_tune_ends_unasked_runs_again_and_after_many_times_has_failed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MOST_DROPS", 2)
    for name in ("a", "b"):
        task = session.start_next(name, room=1)
        assert task is not None
        assert (task["number"], task["seed"]) == (0, 0)
        session.on_end(name, Report())
    assert states(session) == ["running"]
    session.start_next("c", room=1)
    session.reconcile([])
    (trial,) = (t for c in session.journal.read() for t in c.trials.values())
    assert (trial.state, trial.cause) == ("failed", "lost: Ray Tune dropped it 3 times")
    task = session.start_next("d", room=1)
    assert task is not None
    assert task["number"] == 1


def test_what_tune_dropped_is_found_when_it_asks_for_the_next_trial(session: Session) -> None:
    """Tune waits in a loop around that call, and calls nothing else, when it believes that nothing runs."""
    searcher = SessionSearcher(session, room=1)
    assert searcher.suggest("a")["task"]["number"] == 0
    searcher.trials = [TuneTrial("a", "PENDING")]
    assert searcher.suggest("b") is None
    searcher.trials = [TuneTrial("a", "ERROR")]
    assert searcher.suggest("c")["task"]["number"] == 0


def test_a_trial_whose_process_was_gone_before_it_started_has_not_failed(session: Session) -> None:
    searcher = SessionSearcher(session, room=2)
    for name in ("a", "b"):
        searcher.suggest(name)
    assert searcher.suggest("c") is None
    searcher.trials = [TuneTrial("a", "PENDING"), TuneTrial("b", "RUNNING")]
    for name in ("a", "b"):
        searcher.on_trial_complete(name, None, error=True)
    assert states(session) == ["running", "failed"]
    task = session.start_next("c", room=2)
    assert task is not None
    assert task["number"] == 0


def test_a_launch_without_a_sign_of_life_begins_again(session: Session) -> None:
    session.start_next("a", room=3)
    session.on_report("a", Report(updates=3))
    assert not session.should_stop()
    quiet = session.campaign.model_copy(update={"silent_minutes": 0.0})
    session.plan.change(quiet)
    assert session.should_stop()
    assert session.stop.silent
    assert not session.is_over
    session.on_end("a", Report(updates=3))
    session.resume()
    assert not session.stop.any
    task = session.start_next("b", room=3)
    assert task is not None
    assert (task["number"], task["seed"]) == (0, 0)


def test_a_population_copies_what_the_journal_holds_and_only_once_a_generation(digits_folder: Path, tmp_path: Path) -> None:
    more = {"scheduler": {"kind": "pbt", "every": 4}, "budget": {"trials": 4}}
    session = session_of(digits_folder, tmp_path, **more)
    for number in range(4):
        task = session.start_next(f"first {number}", room=9)
        assert task is not None
        assert task["descent"] is None
    for number in range(4):
        assert session.on_report(f"first {number}", evaluated(0.1 * number, updates=4))
        if number < 3:
            assert session.start_next("too early", room=9) is None
        session.on_end(f"first {number}", evaluated(0.1 * number, updates=4))
    tasks = [session.start_next(f"second {number}", room=9) for number in range(4)]
    assert [task["number"] for task in tasks if task] == [0, 1, 2, 3]
    (copied, *rest) = [task["descent"] for task in tasks if task]
    assert copied["donor"] == "0003-s0"
    assert copied["updates"] == 4
    assert rest == [None] * 3
    for number in range(4):  # as the members' runs would have recorded it
        line = json.dumps({"step": 4, "time": 1.0, f"evaluation/{METRIC}": 0.1 * number})
        session.journal.trial_store(f"{number:04d}-s0").put("metrics.jsonl", line.encode() + b"\n")
    read = session.journal.read()
    assert read[0].descents == [Descent(**copied)]
    later = Session(Plan(session.campaign, read), session.journal, lambda plan: None)
    again = [later.start_next(f"third {number}", room=9) for number in range(4)]
    assert [task and task["descent"] for task in again] == [copied, None, None, None]
    assert session.journal.read()[0].descents == [Descent(**copied)]


def test_a_trial_that_tune_gave_up_has_failed_with_tunes_reason(session: Session) -> None:
    session.start_next("a", room=3)
    session.on_end("a", Report(), lost="lost: the node died")
    (trial,) = (t for c in session.journal.read() for t in c.trials.values())
    assert (trial.state, trial.cause) == ("failed", "lost: the node died")


def test_a_lost_process_is_named_by_the_last_line_of_its_error() -> None:
    class OutOfMemoryError(Exception):
        """Of the same name as Ray's."""

    assert loss_cause(RuntimeError("Traceback\n\nthe node died\n")) == "lost: the node died"
    assert loss_cause(OutOfMemoryError("worker killed")) == "out of memory: worker killed"
    assert loss_cause(RuntimeError()) == "lost: RuntimeError"
    assert loss_cause(None) == "lost"


class TuneTrial:
    """Tune's trial, with the attributes that a callback reads."""

    def __init__(self, trial_id: str, status: str) -> None:
        self.trial_id, self.status = trial_id, status

    def get_error(self) -> Exception:
        return RuntimeError("the node died")


def test_a_trial_that_tune_could_not_start_is_started_again(session: Session) -> None:
    for name in ("a", "b"):
        session.start_next(name, room=3)
    searcher = SessionSearcher(session, room=3)
    callback = SessionCallback(searcher)
    callback.on_step_begin(1, [TuneTrial("a", "ERROR"), TuneTrial("b", "RUNNING"), TuneTrial("z", "ERROR")])
    callback.on_step_end(1, [])
    assert session.running.keys() == {"b"}
    assert not session.plan.over
    task = session.start_next("c", room=3)
    assert task is not None
    assert (task["number"], task["seed"]) == (0, 0)
    session.on_end("c", evaluated(0.1, outcome="finished"))
    assert states(session) == ["finished", "running"]


@pytest.mark.parametrize("reported_before_the_end", [True, False])
def test_shared_trouble_stops_the_campaign_and_its_trials_continue_later(
    session: Session, reported_before_the_end: bool
) -> None:
    session.start_next("a", room=3)
    if reported_before_the_end:
        session.on_report("a", Report(shared_trouble="disk full"))
    session.on_end("a", Report(shared_trouble="disk full"))
    assert session.should_stop()
    assert states(session) == ["running"]
    assert session.start_next("b", room=3) is None
    session.close()
    assert session.journal.status()["status"] == "failed"
    assert session.journal.status()["message"] == "disk full"
    assert Plan(session.campaign, session.journal.read()).next() is not None


def test_a_storage_that_fails_under_the_driver_stops_the_campaign_in_order_mocked_store(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise DataError("configurations/0000.json: No space left on device")

    monkeypatch.setattr(session.journal.store, "put", full)
    assert session.start_next("a", room=3) is None
    assert session.stop.shared_trouble == "configurations/0000.json: No space left on device"
    session.close()  # it cannot write its status either, and does not raise a second error


def test_a_status_that_cannot_be_written_is_an_error_where_nothing_else_was_mocked_store(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise DataError("campaign.json: No space left on device")

    monkeypatch.setattr(session.journal.store, "put", full)
    with pytest.raises(RunError, match="status could not be written"):
        session.close()


def test_a_configuration_that_was_given_up_is_written_to_the_journal(digits_folder: Path, tmp_path: Path) -> None:
    planned = campaign(str(digits_folder), tmp_path, seeds={"count": 2, "promising": 0.5}, budget={"trials": 8})
    session = Session(Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)
    for name in ("a", "b"):
        session.start_next(name, room=9)
    for name, score in (("a", 0.1), ("b", 0.9)):
        session.on_report(name, evaluated(score, outcome="finished"))
        session.on_end(name, evaluated(score, outcome="finished"))
    task = session.start_next("c", room=9)
    assert task is not None
    assert (task["number"], task["seed"]) == (1, 1)
    assert [configuration.given_up for configuration in session.journal.read()] == [True, False]


def test_a_comparison_of_models_is_written_to_the_journal(digits_folder: Path, tmp_path: Path) -> None:
    central = {"objectives": [{"metric": "selection/centrality"}], "seeds": {"count": 2}, "budget": {"trials": 2}}
    planned = campaign(str(digits_folder), tmp_path, **central)
    session = Session(Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)
    for name in ("a", "b"):
        assert session.start_next(name, room=9) is not None
        session.on_end(name, evaluated(0.1, outcome="finished"))
    task = session.start_next("c", room=9)
    assert task is not None
    assert task["kind"] == "compare"
    session.on_end("c", Report(outcome="compared", centrality={0: 0.5, 1: 0.5}))
    assert session.journal.read()[0].centrality == {0: 0.5, 1: 0.5}
    assert session.plan.over


def test_the_minutes_of_all_launches_count(session: Session) -> None:
    assert not session.should_stop()
    session.journal.set_status(seconds=61.0)
    later = Session(session.plan, session.journal, lambda plan: None)
    assert later.should_stop()
    assert later.stop.out_of_time
    later.close()
    assert session.journal.status()["status"] == "finished"
