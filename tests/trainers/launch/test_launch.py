"""Ray Train on a real local cluster: two workers, a killed worker, everything killed, fatal errors."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.conftest import pack_digits
from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.local.services import LocalServices
from unbraid.datasets.store import open_store
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run, run_status

ROOT = Path(__file__).parents[3]
BASE = [*TINY[:-1], "run.cpus=1", "run.log_every=1", "run.preview_every=0", "run.checkpoint_every=10"]


def start(url: str, storage: Path, name: str, *overrides: str) -> subprocess.Popen[str]:
    """The command a user would type, in a process group of its own."""
    settings = [*BASE, f"data.url={url}", f"run.storage={storage}", f"run.name={name}", *overrides]
    command = [sys.executable, "-m", "unbraid.cluster.cli", "train", "infogan-mnist", *settings]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    text, _ = process.communicate(timeout=240)
    return process.returncode, text


def workers() -> list[psutil.Process]:
    """Processes that Ray Train has started for a run of these tests."""
    return [p for p in psutil.process_iter(["cmdline"]) if "RayTrainWorker" in " ".join(p.info["cmdline"] or [])]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.2)


def weights(storage: Path, name: str) -> dict[str, Any]:
    state = Checkpoints(open_run(str(storage), name), keep=2).load()
    assert state is not None
    return {f"{n}.{k}": v for n, network in state["networks"].items() for k, v in network.items()}


@pytest.fixture(scope="module")
def uninterrupted(digits_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("whole")
    code, text = finish(start(digits_url, storage, "whole", "run.workers=2", "run.updates=60"))
    assert code == 0, text
    return storage


def test_two_workers_train_from_s3_and_report(uninterrupted: Path) -> None:
    store = open_run(str(uninterrupted), "whole")
    assert read_run(store)["status"] == "finished"
    assert [line["step"] for line in read_metrics(store) if "loss/d" in line] == list(range(1, 61))
    assert (uninterrupted / "whole/report.png").exists()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_run_ends_where_it_would_have(
    uninterrupted: Path, digits_url: str, tmp_path: Path
) -> None:
    process = start(digits_url, tmp_path, "killed", "run.workers=2", "run.updates=60")
    store = open_run(str(tmp_path), "killed")
    wait_for(lambda: bool(Checkpoints(store, 2).steps()), "the first checkpoint")
    victim = workers()[-1]
    victim.kill()
    code, text = finish(process)
    assert code == 0, text
    whole, killed = weights(uninterrupted, "whole"), weights(tmp_path, "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.slow
def test_a_worker_killed_too_often_ends_the_run_and_says_how_to_go_on(digits_url: str, tmp_path: Path) -> None:
    process = start(digits_url, tmp_path, "lost", "run.updates=2000", "run.max_failures=0")
    wait_for(lambda: bool(Checkpoints(open_run(str(tmp_path), "lost"), 2).steps()), "the first checkpoint")
    for worker in workers():
        worker.kill()
    code, text = finish(process)
    assert code == 1
    (message,) = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert "run lost was lost after 0 replacements of its workers" in message
    assert "Repeat the command to go on from its newest checkpoint." in text
    assert run_status(open_run(str(tmp_path), "lost")) == "failed"


@pytest.mark.slow
def test_everything_killed_and_the_command_repeated_ends_bit_for_bit_equal(
    uninterrupted: Path, digits_url: str, tmp_path: Path
) -> None:
    arguments = (digits_url, tmp_path, "cut", "run.workers=2", "run.updates=60")
    process = start(*arguments)
    store = open_run(str(tmp_path), "cut")
    wait_for(lambda: len(Checkpoints(store, 2).steps()) == 2, "two checkpoints")
    os.killpg(process.pid, signal.SIGKILL)
    for worker in workers():
        worker.kill()
    process.wait()
    assert run_status(store) == "running"
    code, text = finish(start(*arguments))
    assert code == 0, text
    whole, cut = weights(uninterrupted, "whole"), weights(tmp_path, "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert [line["step"] for line in read_metrics(store) if "loss/d" in line] == list(range(1, 61))


def test_a_finished_run_answers_at_once(uninterrupted: Path, digits_url: str) -> None:
    started = time.monotonic()
    code, text = finish(start(digits_url, uninterrupted, "whole", "run.workers=2", "run.updates=60"))
    assert code == 0
    assert "run whole is finished" in text
    assert time.monotonic() - started < 20  # a worker group alone takes longer than this command


@pytest.mark.slow
def test_a_damaged_shard_ends_the_run_with_one_error_and_no_retries(services: LocalServices, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pack_digits(open_store(str(data), create=True))
    for path in data.glob("train-*.tar"):
        content = bytearray(path.read_bytes())
        content[700] ^= 1
        path.write_bytes(content)
    code, text = finish(start(str(data), tmp_path, "damaged", "run.workers=2", "run.updates=60"))
    assert code == 1
    (message,) = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert ".tar: sample 0: its checksum differs" in message
    assert "Traceback" not in text
    record = json.loads((tmp_path / "damaged/run.json").read_text())
    assert record["status"] == "failed"
    assert "checksum" in record["message"]
    assert json.loads((tmp_path / "damaged/failure.json").read_text())["kind"] == "DataError"


def test_more_workers_than_the_cluster_has_are_refused_at_once(
    services: LocalServices, digits_url: str, tmp_path: Path
) -> None:
    code, text = finish(start(digits_url, tmp_path, "many", "run.workers=8", "run.cpus=64"))
    assert code == 1
    assert "run.workers=8 need 512 CPUs, the cluster has" in text
