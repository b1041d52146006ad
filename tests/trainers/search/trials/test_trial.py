"""How a trial ends, in its process: which errors fail the trial, and which stop the campaign."""

from pathlib import Path

import pytest
import torch

from tests.trainers.search.campaigns import campaign
from unbraid.trainers.errors import CheckpointError, CollapseError, DivergenceError, RunError
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.search.trials.reports import Report
from unbraid.trainers.search.trials.trial import failure_cause, run_trial


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "out of memory: Default"),
        (MemoryError(), "out of memory: MemoryError"),
        (DivergenceError("loss/d is not finite at update 3"), "diverged: loss/d"),
        (CollapseError("the discriminator has won\nfor long"), "collapsed: the discriminator has won"),
    ],
)
def test_a_cause_is_one_line_that_begins_with_its_kind(error: BaseException, cause: str) -> None:
    assert failure_cause(error).startswith(cause)
    assert "\n" not in failure_cause(error)


def report_after(error: BaseException, data: Path, storage: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """The only report of a trial whose training raises an error."""
    sent: list[Report] = []

    def fails(*arguments: object) -> None:
        raise error

    def send(report: Report) -> None:
        sent.append(report)

    monkeypatch.setattr("unbraid.trainers.search.trials.trial.train_here", fails)
    monkeypatch.setattr("unbraid.trainers.search.trials.trial.send", send)
    planned = campaign(str(data), storage).model_dump(mode="json")
    run_trial({"task": {"campaign": planned, "kind": "train", "number": 0, "seed": 0, "params": {}, "descent": None}})
    (report,) = sent
    return report


def test_running_out_of_memory_ends_a_trial_with_that_cause_mocked_allocator(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No machine here runs out of memory in a test, so the training function raises what torch would."""
    report = report_after(torch.OutOfMemoryError("CUDA out of memory"), digits_folder, tmp_path, monkeypatch)
    assert (report.outcome, report.cause) == ("failed", "out of memory: CUDA out of memory")
    record = read_run(open_run(str(tmp_path / "tiny/trials"), "0000-s0"))
    assert (record["status"], record["message"]) == ("failed", "out of memory: CUDA out of memory")


@pytest.mark.parametrize(
    ("cause", "outcome", "failure", "shared_trouble"),
    [
        (DivergenceError("loss/d is not finite"), "failed", "diverged: loss/d is not finite", ""),
        (CheckpointError("no space"), None, "", "trial 0000-s0: no space"),
        (None, "failed", "failed: the run ended", ""),
    ],
)
def test_the_cause_decides_whether_the_trial_fails_or_the_campaign_stops_mocked_training(
    cause: Exception | None,
    outcome: str | None,
    failure: str,
    shared_trouble: str,
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = RunError("the run ended")
    error.__cause__ = cause
    report = report_after(error, digits_folder, tmp_path, monkeypatch)
    assert (report.outcome, report.cause, report.shared_trouble) == (outcome, failure, shared_trouble)


def test_a_failure_of_an_earlier_launch_is_reported_without_training_again_mocked_training(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_after(RunError("the first failure"), digits_folder, tmp_path, monkeypatch)
    again = report_after(RunError("trained again"), digits_folder, tmp_path, monkeypatch)
    assert (again.outcome, again.cause) == ("failed", "failed: the first failure")
