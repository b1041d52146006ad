"""A launch of a campaign without Ray: the tests report and end trials in its place."""

from pathlib import Path

import pytest

from tests.trainers.search.campaigns import METRIC, campaign
from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import RunError
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials.reports import Outcome, Report
from unbraid.trainers.search.trials.session import Session, loss_cause
from unbraid.trainers.search.trials.tune_adapters import ErrorCallback


@pytest.fixture
def session(digits_folder: Path, tmp_path: Path) -> Session:
    planned = campaign(str(digits_folder), tmp_path, budget={"trials": 3, "minutes": 1})
    return Session(planned, Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)


def evaluated(score: float, updates: int = 8, outcome: Outcome | None = None) -> Report:
    return Report(updates=updates, scores={METRIC: score}, seconds=1.0, outcome=outcome)


def states(session: Session) -> list[str]:
    return [trial.state for configuration in session.journal.read() for trial in configuration.trials.values()]


def test_a_trial_that_ends_without_an_outcome_was_stopped_by_the_scheduler(session: Session) -> None:
    assert session.start_next("a", room=3) is not None
    assert session.start_next("b", room=3) is not None
    assert session.start_next("c", room=2) is None
    session.on_end("a", evaluated(0.1, updates=2), lost=False)
    session.on_end("b", evaluated(0.2, outcome="finished"), lost=False)
    assert states(session) == ["stopped", "finished"]
    assert session.journal.read()[0].trials[0].rungs == [(2, {METRIC: 0.1})]


def test_a_trial_that_tune_gave_up_has_failed_with_tunes_reason(session: Session) -> None:
    session.start_next("a", room=3)
    session.errors["a"] = "lost: the node died"
    session.on_end("a", Report(), lost=True)
    (trial,) = (t for c in session.journal.read() for t in c.trials.values())
    assert (trial.state, trial.cause) == ("failed", "lost: the node died")


def test_a_lost_process_is_named_by_the_last_line_of_its_error() -> None:
    class OutOfMemoryError(Exception):
        """Of the same name as Ray's."""

    assert loss_cause(RuntimeError("Traceback\n\nthe node died\n")) == "lost: the node died"
    assert loss_cause(OutOfMemoryError("worker killed")) == "out of memory: worker killed"
    assert loss_cause(RuntimeError()) == "lost: RuntimeError"


class TuneTrial:
    """Tune's trial, with the attributes that a callback reads."""

    def __init__(self, trial_id: str, status: str) -> None:
        self.trial_id, self.status = trial_id, status


def test_a_trial_that_tune_could_not_start_is_started_again(session: Session) -> None:
    for name in ("a", "b"):
        session.start_next(name, room=3)
    ErrorCallback(session).on_step_end(1, [TuneTrial("a", "ERROR"), TuneTrial("b", "RUNNING"), TuneTrial("z", "ERROR")])
    assert session.running.keys() == {"b"}
    assert not session.plan.over
    task = session.start_next("c", room=3)
    assert task is not None
    assert (task["number"], task["seed"]) == (0, 0)
    session.on_end("c", evaluated(0.1, outcome="finished"), lost=False)
    assert states(session) == ["finished", "running"]


@pytest.mark.parametrize("reported_before_the_end", [True, False])
def test_shared_trouble_stops_the_campaign_and_its_trials_continue_later(
    session: Session, reported_before_the_end: bool
) -> None:
    session.start_next("a", room=3)
    if reported_before_the_end:
        session.on_report("a", Report(shared_trouble="disk full"))
    session.on_end("a", Report(shared_trouble="disk full"), lost=False)
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
    session = Session(planned, Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)
    for name in ("a", "b"):
        session.start_next(name, room=9)
    session.on_end("a", evaluated(0.1, outcome="finished"), lost=False)
    session.on_end("b", evaluated(0.9, outcome="finished"), lost=False)
    task = session.start_next("c", room=9)
    assert task is not None
    assert (task["number"], task["seed"]) == (1, 1)
    assert [configuration.given_up for configuration in session.journal.read()] == [True, False]


def test_a_comparison_of_models_is_written_to_the_journal(digits_folder: Path, tmp_path: Path) -> None:
    central = {"objectives": [{"metric": "selection/centrality"}], "seeds": {"count": 2}, "budget": {"trials": 2}}
    planned = campaign(str(digits_folder), tmp_path, **central)
    session = Session(planned, Plan(planned, []), Journal.claim(planned, "test"), lambda plan: None)
    for name in ("a", "b"):
        assert session.start_next(name, room=9) is not None
        session.on_end(name, evaluated(0.1, outcome="finished"), lost=False)
    task = session.start_next("c", room=9)
    assert task is not None
    assert task["kind"] == "compare"
    session.on_end("c", Report(outcome="compared", centrality={0: 0.5, 1: 0.5}), lost=False)
    assert session.journal.read()[0].centrality == {0: 0.5, 1: 0.5}
    assert session.plan.over


def test_the_minutes_of_all_launches_count(session: Session) -> None:
    assert not session.should_stop()
    session.journal.set_status(seconds=61.0)
    later = Session(session.campaign, session.plan, session.journal, lambda plan: None)
    assert later.should_stop()
    assert later.stop.out_of_time
    later.close()
    assert session.journal.status()["status"] == "finished"
