"""A run that is asked to stop, and one whose storage is away: nothing that was trained is lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.datasets.store.fault_proxy import Fault, fault_proxy
from tests.trainers.launch.test_launch import finish, start, wait_for
from unbraid.datasets.store import open_store
from unbraid.datasets.store.s3 import S3Store
from unbraid.trainers.errors import CheckpointError, SupersededError
from unbraid.trainers.runs import checkpoint
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.record import METRICS_KEY, RunRecord, open_run, read_events, read_metrics, run_status


class Trouble:
    """What the proxy does to writes from now on; nothing at first."""

    fault: Fault | None = None

    def __call__(self, number: int, line: str) -> Fault | None:
        return self.fault if line.startswith("PUT") else None


@pytest.fixture
def trouble(services: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trouble]:
    """S3 through a proxy, with short pauses."""
    monkeypatch.setattr(checkpoint, "RETRY_SECONDS", 0.1)
    trouble = Trouble()
    with fault_proxy(os.environ["AWS_ENDPOINT_URL"], trouble) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield trouble


def state(step: int) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(step)}


@pytest.mark.parametrize("way", ["--debug", "run.workers=1"])
def test_sigterm_saves_a_checkpoint_of_the_update_at_which_it_came(
    way: str, services: object, digits_folder: Path, tmp_path: Path
) -> None:
    """In one process, and as a Ray Train worker; there is no other checkpoint. That going on is exact is told by test_loop."""
    process = start(str(digits_folder), tmp_path, "cut", "run.updates=100000", "run.checkpoint_every=0", way)
    store = open_run(str(tmp_path), "cut")
    wait_for(lambda: len(read_metrics(store)) > 0, "the first metrics")
    process.send_signal(signal.SIGTERM)
    code, text = finish(process)
    assert code == 143, text
    assert run_status(store) == "stopped"
    (step,) = Checkpoints(store, 2).steps()
    assert step == read_metrics(store)[-1]["step"] > 0
    assert f"the checkpoint of step {step} is complete; the same command goes on from it" in text


@pytest.mark.parametrize("fault", ["denied", "slow_down"])
def test_a_checkpoint_that_is_refused_is_tried_again_and_training_goes_on(
    trouble: Trouble, bucket_url: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("unbraid.datasets.store.s3.WRITE_ATTEMPTS", 1)
    told: list[str] = []
    checkpoints = Checkpoints(open_store(bucket_url), keep=5, patience=60)
    checkpoints.report = told.append
    checkpoints.save(1, state(1))
    checkpoints.wait()
    trouble.fault = fault
    for step in (2, 3, 4):
        checkpoints.save(step, state(step))  # returns although nothing can be written
    assert checkpoints.steps() == [1]
    wait_for(lambda: checkpoints.failures > 3, "some attempts", 30)
    trouble.fault = None
    checkpoints.wait()
    assert checkpoints.steps()[-1] == 4
    newest = checkpoints.load()
    assert newest is not None
    assert newest["x"] == 4
    assert "step 1 is complete" in told[0]
    assert told[-1].startswith("checkpoint of step 4 is complete, after")


def test_a_checkpoint_that_is_refused_for_too_long_is_an_error(
    trouble: Trouble, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(open_store(bucket_url), keep=5, patience=0.5)
    trouble.fault = "denied"
    checkpoints.save(1, state(1))
    with pytest.raises(CheckpointError, match="checkpoint of step 1 could not be written"):
        checkpoints.wait()


def test_a_launch_that_was_taken_over_completes_no_checkpoint(bucket_url: str) -> None:
    def guard() -> None:
        raise SupersededError("this run has been taken over")

    checkpoints = Checkpoints(open_store(bucket_url), keep=5, patience=60, guard=guard)
    checkpoints.save(1, state(1))
    with pytest.raises(SupersededError):
        checkpoints.wait()
    assert checkpoints.steps() == []


def test_what_is_recorded_while_the_storage_is_away_is_written_when_it_is_back(trouble: Trouble, bucket_url: str) -> None:
    store = open_store(bucket_url)
    assert isinstance(store, S3Store)
    with RunRecord(store, 0) as record:
        record.scalars(1, {"loss/d": 1.0})
        record.flush()
        trouble.fault = "slow_down"
        record.scalars(2, {"loss/d": 2.0})
        record.pictures(2, {"fake": torch.zeros(3, 4, 4, dtype=torch.uint8)}, "preview")
        record.flush()
        assert [line["step"] for line in read_metrics(store)] == [1]
        trouble.fault = None
        record.scalars(3, {"loss/d": 3.0})
    assert [line["step"] for line in read_metrics(store)] == [1, 2, 3]
    assert store.exists("preview/fake/00000002.png")
    assert [event["kind"] for event in read_events(store)] == ["storage_away", "storage_back"]
    assert store.exists(METRICS_KEY)
