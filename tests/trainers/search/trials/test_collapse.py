"""A collapse is noticed from lines of metrics, and what recovers is left alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.search.campaigns import campaign
from unbraid.trainers.errors import CheckpointError, DivergenceError, RunError
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.search.campaign.sections import CollapseConfig
from unbraid.trainers.search.trials.collapse import CollapseError, CollapseWatch
from unbraid.trainers.search.trials.trial import cause_of, run_trial

CONFIG = CollapseConfig(lines=3, loss_d=0.01, deviation=0.1)


def line(step: int, loss_d: float = 0.5, made: float = 0.2) -> dict[str, float]:
    return {"step": step, "loss/d": loss_d, "samples/real_deviation": 0.3, "samples/fake_deviation": made}


def test_a_discriminator_that_wins_for_long_is_a_collapse() -> None:
    watch = CollapseWatch(CONFIG)
    for step in (1, 2):
        watch(line(step, loss_d=0.001))
    with pytest.raises(CollapseError, match=r"D has won: loss/d below 0\.01 for 3 lines, up to update 3"):
        watch(line(3, loss_d=0.001))


def test_constant_samples_are_a_collapse() -> None:
    watch = CollapseWatch(CONFIG)
    with pytest.raises(CollapseError, match="samples are all the same"):
        for step in range(5):
            watch(line(step, made=0.01))


def test_what_recovers_is_none() -> None:
    watch = CollapseWatch(CONFIG)
    for step in range(20):
        watch(line(step, loss_d=0.001 if step % 3 else 0.5, made=0.01 if step % 3 else 0.2))


def test_what_a_system_does_not_log_is_not_looked_at() -> None:
    watch = CollapseWatch(CONFIG)
    for step in range(20):
        watch({"step": step, "loss/shared": 0.0})


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "out of memory: Default"),
        (MemoryError(), "out of memory: MemoryError"),
        (DivergenceError("loss/d is not finite at update 3"), "diverged: loss/d"),
        (CollapseError("D has won"), "collapsed: D has won"),
    ],
)
def test_causes_are_told_by_one_word_and_one_line(error: BaseException, word: str) -> None:
    assert cause_of(error).startswith(word)
    assert "\n" not in cause_of(error)


def ended_by(error: BaseException, url: Path, storage: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a trial reports whose training raises this."""
    reported: list[dict[str, Any]] = []

    def fails(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr("unbraid.trainers.search.trials.trial.train_here", fails)
    monkeypatch.setattr("unbraid.trainers.search.trials.trial._pointer", lambda: None)
    monkeypatch.setattr("unbraid.trainers.search.trials.trial._report", lambda result, pointer=None: reported.append(result))
    planned = campaign(str(url), storage).model_dump(mode="json")
    run_trial({"task": {"campaign": planned, "kind": "train", "number": 0, "seed": 0, "params": {}}})
    (report,) = reported
    return report


def test_running_out_of_memory_ends_a_trial_with_that_cause_mocked_allocator(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No machine here runs out of memory in a test, so the training function raises what torch would."""
    report = ended_by(torch.OutOfMemoryError("CUDA out of memory"), digits_folder, tmp_path, monkeypatch)
    assert (report["outcome"], report["cause"]) == ("failed", "out of memory: CUDA out of memory")
    record = read_run(open_run(str(tmp_path / "tiny/trials"), "0000-s0"))
    assert (record["status"], record["message"]) == ("failed", "out of memory: CUDA out of memory")


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (DivergenceError("loss/d is not finite"), {"outcome": "failed", "cause": "diverged: loss/d is not finite"}),
        (CheckpointError("no space"), {"halt": "trial 0000-s0: no space"}),
        (None, {"outcome": "failed", "cause": "failed: the run ended"}),
    ],
)
def test_what_ended_a_run_decides_whether_the_trial_or_the_campaign_ends_mocked_training(
    cause: Exception | None, expected: dict[str, str], digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RunError("the run ended")
    error.__cause__ = cause
    report = ended_by(error, digits_folder, tmp_path, monkeypatch)
    assert {name: report[name] for name in expected} == expected
    assert ("halt" in report) == ("halt" in expected)
