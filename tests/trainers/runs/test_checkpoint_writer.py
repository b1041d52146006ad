"""Writing checkpoints in the background: training waits for a write, but not for a server that fails; nothing saved is lost."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.datasets.store.fault_proxy import Fault
from tests.trainers.launch.test_launch import wait_for
from tests.trainers.runs.conftest import Trouble
from unbraid.datasets.store import open_store
from unbraid.trainers.errors import CheckpointError, SupersededError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.checkpoint_writer import CheckpointWriter


def state(step: int) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(step)}


class SlowCheckpoints(Checkpoints):
    """Checkpoints that are written when they are allowed to be."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_store(str(folder), create=True), keep=5)
        self.begun, self.allowed = threading.Event(), threading.Event()

    def write(self, step: int, state: Mapping[str, Any], guard: Any = lambda: None) -> None:
        self.begun.set()
        assert self.allowed.wait(60)
        super().write(step, state, guard)


def test_a_checkpoint_is_the_state_at_the_call_and_is_written_while_training_goes_on(tmp_path: Path) -> None:
    checkpoints = SlowCheckpoints(tmp_path)
    weights = torch.zeros(3)
    with CheckpointWriter(checkpoints) as writer:
        writer.save(1, {"weights": weights})
        weights += 1
        assert checkpoints.begun.wait(60)
        assert checkpoints.steps() == []
        checkpoints.allowed.set()
    loaded = checkpoints.load(1)
    assert loaded is not None
    assert loaded["weights"].tolist() == [0, 0, 0]


def test_a_save_waits_for_the_one_before_and_both_are_complete(tmp_path: Path) -> None:
    checkpoints = SlowCheckpoints(tmp_path)
    with CheckpointWriter(checkpoints) as writer:
        writer.save(1, state(1))
        second = threading.Thread(target=lambda: writer.save(2, state(2)))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        checkpoints.allowed.set()
        second.join(60)
        assert not second.is_alive()
        assert 1 in checkpoints.steps()
    assert checkpoints.steps() == [1, 2]


@pytest.mark.parametrize("error", [None, ValueError("training ended")])
def test_leaving_the_block_waits_for_what_was_saved(tmp_path: Path, error: Exception | None) -> None:
    checkpoints = SlowCheckpoints(tmp_path)
    release = threading.Timer(0.2, checkpoints.allowed.set)

    def train() -> None:
        with CheckpointWriter(checkpoints) as writer:
            writer.save(1, state(1))
            release.start()
            if error is not None:
                raise error

    if error is None:
        train()
    else:
        with pytest.raises(ValueError, match="training ended"):
            train()
    assert checkpoints.steps() == [1]


@pytest.mark.parametrize("fault", ["denied", "slow_down"])
def test_a_checkpoint_that_a_server_refuses_is_tried_again_and_training_goes_on(
    trouble: Trouble, bucket_url: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("unbraid.datasets.store.s3.WRITE_ATTEMPTS", 1)
    messages: list[str] = []
    checkpoints = Checkpoints(open_store(bucket_url), keep=5)
    with CheckpointWriter(checkpoints, retry_seconds=60, on_event=messages.append) as writer:
        writer.save(1, state(1))
        writer.wait()
        trouble.fault = fault
        for step in (2, 3, 4):
            writer.save(step, state(step))  # returns although nothing can be written
        assert checkpoints.steps() == [1]
        wait_for(lambda: writer.failures > 3, "some attempts", 30)
        trouble.fault = None
        writer.wait()
        assert checkpoints.steps() == [1, 4]  # the newest state has replaced those that were waiting
        assert writer.status()["checkpoint/failures"] == writer.failures
    newest = checkpoints.load()
    assert newest is not None
    assert newest["x"] == 4
    assert "step 1 is complete" in messages[0]
    assert messages[-1].startswith("checkpoint of step 4 is complete, after")


def test_a_checkpoint_that_is_refused_for_too_long_is_an_error_at_every_later_call(trouble: Trouble, bucket_url: str) -> None:
    trouble.fault = "denied"
    with pytest.raises(CheckpointError), CheckpointWriter(Checkpoints(open_store(bucket_url), keep=5), 0.5) as writer:
        writer.save(1, state(1))
        with pytest.raises(CheckpointError, match="checkpoint of step 1 could not be written"):
            writer.wait()
        with pytest.raises(CheckpointError, match="checkpoint of step 1 could not be written"):
            writer.save(2, state(2))


def test_an_earlier_error_is_not_hidden_by_a_checkpoint_that_fails(trouble: Trouble, bucket_url: str) -> None:
    trouble.fault = "denied"
    with pytest.raises(ValueError, match="training ended"), CheckpointWriter(Checkpoints(open_store(bucket_url), 5)) as writer:
        writer.save(1, state(1))
        raise ValueError("training ended")


def test_an_unexpected_error_of_the_thread_reaches_the_training_thread(tmp_path: Path) -> None:
    def guard() -> None:
        raise ZeroDivisionError("not foreseen")

    with pytest.raises(ZeroDivisionError), CheckpointWriter(Checkpoints(open_store(str(tmp_path)), 5), guard=guard) as writer:
        writer.save(1, state(1))
        writer.wait()


def test_a_launch_that_was_superseded_completes_no_checkpoint(bucket_url: str) -> None:
    def guard() -> None:
        raise SupersededError("this run has been taken over")

    checkpoints = Checkpoints(open_store(bucket_url), keep=5)
    with pytest.raises(SupersededError), CheckpointWriter(checkpoints, retry_seconds=60, guard=guard) as writer:
        writer.save(1, state(1))
    assert checkpoints.steps() == []


def test_the_age_of_the_newest_checkpoint_is_reported(tmp_path: Path) -> None:
    checkpoints = SlowCheckpoints(tmp_path)
    checkpoints.allowed.set()
    with CheckpointWriter(checkpoints) as writer:
        before = writer.status()
        assert wait_for_age(writer, 0.2) > 0.2
        assert before["checkpoint/seconds"] == 0
        writer.save(1, state(1))
        writer.wait()
        after = writer.status()
    assert after["checkpoint/age_seconds"] < 0.2
    assert after["checkpoint/seconds"] > 0


def wait_for_age(writer: CheckpointWriter, seconds: float) -> float:
    wait_for(lambda: writer.status()["checkpoint/age_seconds"] > seconds, "time")
    return writer.status()["checkpoint/age_seconds"]
