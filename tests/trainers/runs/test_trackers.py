"""Trackers get what a run records, and never slow it, stop it or tell more than once that they fail."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.people import run
from unbraid.datasets.store import FolderStore
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch.preflight import check_inputs
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.recorder import Line, StorageRecorder
from unbraid.trainers.runs.trackers import tracking
from unbraid.trainers.runs.trackers.tracking import Ending, Feed, Identity, TrackedRecorder, tracked

IDENTITY = Identity("mine", "tests", "", (), {})


class Notes:
    """A tracker that notes what it is given."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.lines, self.names, self.ending = identity, list[Line](), list[str](), ""

    def scalars(self, lines: Sequence[Line]) -> None:
        self.lines += lines

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        self.names.append(f"{name}@{step}")

    def end(self, ending: Ending) -> None:
        self.ending = ending


class Away(Notes):
    """A tracker whose server is away."""

    def scalars(self, lines: Sequence[Line]) -> None:
        raise ConnectionError("nobody at http://user:secret@host:5000")


class Stuck(Notes):
    """A tracker that does not come back."""

    def scalars(self, lines: Sequence[Line]) -> None:
        threading.Event().wait(60)


def test_a_run_hands_over_its_lines_pictures_and_end(
    tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Notes] = []

    def make(name: str, identity: Identity) -> Notes:
        made.append(Notes(identity))
        return made[-1]

    monkeypatch.setattr(tracking, "_opened", make)
    monkeypatch.setattr("unbraid.trainers.launch.preflight.require_trackers", lambda config: None)
    where = [f"data.url={digits_folder}", f"run.storage={tmp_path}", "run.name=mine", "run.updates=4", "run.log_every=1"]
    run(resolve("infogan-mnist-reference", [*TINY, *where, "run.trackers=[mlflow]", "run.project=digits", "run.tags=[a,b]"]))
    (notes,) = made
    recorded = [json.loads(line) for line in (tmp_path / "mine/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in notes.lines] == [line["step"] for line in recorded]
    assert [line.get("loss/d") for line in notes.lines] == [line.get("loss/d") for line in recorded]
    assert "preview/samples@4" in notes.names
    assert notes.ending == "finished"
    assert (notes.identity.name, notes.identity.project, notes.identity.tags) == ("mine", "digits", ("a", "b"))
    assert notes.identity.settings["run.updates"] == 4


@pytest.mark.parametrize("kind", [Away, Stuck])
def test_a_tracker_that_fails_or_hangs_costs_a_run_nothing_and_is_told_once(
    kind: type[Notes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "LAST_SECONDS", 0.3)
    monkeypatch.setattr(tracking, "LONGEST_QUEUE", 5)
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.01)
    store = FolderStore(tmp_path, create=True)
    recorder = StorageRecorder(store, 0)
    feed = Feed("mlflow", lambda: kind(IDENTITY), lambda why: recorder.event("tracker_failed", why))
    with TrackedRecorder(recorder, [feed]) as both:
        started = time.monotonic()
        for step in range(1, 40):
            both.scalars(step, {"loss/d": 1.0})
        assert time.monotonic() - started < 1.0
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 39
    told = [event.message for event in read_events(store) if event.kind == "tracker_failed"]
    assert len(told) == 1
    assert "the run goes on without it" in told[0]
    assert "secret" not in told[0]
    assert kind is Away or "does not keep up" in told[0]


def test_a_tracker_that_comes_back_gets_what_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.01)
    notes, told, tries = Notes(IDENTITY), list[str](), iter([ConnectionError("away"), None])

    def make() -> Notes:
        error = next(tries)
        if error is not None:
            raise error
        return notes

    feed = Feed("wandb", make, told.append)
    feed.put({"step": 1, "loss/d": 1.0})
    until = time.monotonic() + 10
    while not told and time.monotonic() < until:
        time.sleep(0.01)
    feed.put({"step": 2, "loss/d": 2.0})
    feed.close("finished", time.monotonic() + 10)
    assert [line["step"] for line in notes.lines] == [2]
    assert notes.ending == "finished"
    assert told == ["wandb ConnectionError: away; the run goes on without it"]


def test_without_trackers_nothing_is_between(tmp_path: Path) -> None:
    with StorageRecorder(FolderStore(tmp_path, create=True), 0) as recorder:
        assert tracked(recorder, resolve("infogan-mnist-small", []), {}) is recorder


def test_a_tracker_that_is_not_installed_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"run\.trackers: mlflow is not installed; `pip install 'unbraid\[mlflow\]'`"):
        check_inputs(resolve("infogan-mnist-small", ["run.trackers=[mlflow]"]))
    with pytest.raises(ConfigError, match=r"run\.trackers"):
        resolve("infogan-mnist-small", ["run.trackers=[neptune]"])


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """A real server of MLflow on loopback."""
    pytest.importorskip("mlflow")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path / "artifacts"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def trained(tracker: str, folder: Path, digits: Path, updates: int, **variables: str) -> None:
    """A run that a process of its own trains, or goes on with."""
    where = [f"data.url={digits}", f"run.storage={folder}/runs", "run.name=mine", f"run.updates={updates}", "run.log_every=1"]
    where += [f"run.trackers=[{tracker}]", "run.project=digits", "run.group=searched"]
    command = [sys.executable, "-m", "unbraid.cluster.cli", "train", "infogan-mnist-reference", "--debug", *TINY, *where]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "tracker_failed" not in done.stderr


@pytest.mark.slow
def test_mlflow_shows_a_run_that_goes_on_as_one_with_its_campaign_above(
    mlflow_server: str, digits_folder: Path, tmp_path: Path
) -> None:
    for updates in (3, 5):
        trained("mlflow", tmp_path, digits_folder, updates, MLFLOW_TRACKING_URI=mlflow_server)
    from mlflow.tracking import MlflowClient

    client: Any = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("digits")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"mine", "campaign searched"}
    mine = runs["mine"]
    assert mine.info.status == "FINISHED"
    assert mine.data.tags["mlflow.parentRunId"] == runs["campaign searched"].info.run_id
    assert [one.step for one in client.get_metric_history(mine.info.run_id, "loss/d")] == [1, 2, 3, 4, 5]
    assert mine.data.params["run.project"] == "digits"
    pictures = client.list_artifacts(mine.info.run_id, "preview/samples")
    assert pictures


@pytest.mark.slow
def test_wandb_keeps_a_run_offline(digits_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (tmp_path / "wandb").mkdir()
    trained("wandb", tmp_path, digits_folder, 3, WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    (kept,) = list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    content = kept.read_bytes()
    assert b"loss/d" in content
    assert b"searched" in content


@pytest.mark.slow
def test_trackio_keeps_a_run_on_this_machine(digits_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    trained("trackio", tmp_path, digits_folder, 3, TRACKIO_DIR=str(tmp_path / "trackio"))
    kept = b"".join(path.read_bytes() for path in (tmp_path / "trackio").rglob("*") if path.is_file())
    assert b"loss/d" in kept
