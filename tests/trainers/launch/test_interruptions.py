"""A run that is asked to stop: nothing that was trained is lost, and what is said of it is true."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.trainers.launch.test_launch import finish, start, wait_for
from unbraid.datasets.store import Store
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, run_status

WAYS = ["--debug", pytest.param("run.workers=1", marks=pytest.mark.slow)]
"""In one process, and as a Ray Train worker."""


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Send what a terminal sends: a SIGINT to all processes of the group, Ray's included."""
    os.killpg(process.pid, signal.SIGINT)


def training(url: str, storage: Path, *settings: str) -> tuple[subprocess.Popen[str], Store]:
    """A run that has made some updates, and would make a hundred thousand."""
    process = start(url, storage, "cut", "run.updates=100000", *settings)
    store = open_run(str(storage), "cut")
    wait_for(lambda: len(read_metrics(store)) > 0, "the first metrics")
    return process, store


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_of_the_update_at_which_it_came(
    number: signal.Signals, status: int, way: str, services: object, digits_folder: Path, tmp_path: Path
) -> None:
    """There is no other checkpoint. test_loop shows that resuming is exact."""
    process, store = training(str(digits_folder), tmp_path, "run.checkpoint_every=0", way)
    if number == signal.SIGINT:
        press_ctrl_c(process)
    else:
        process.send_signal(number)
    code, text = finish(process)
    assert code == status, text
    assert run_status(store) == "stopped"
    (step,) = Checkpoints(store, 2).steps()
    assert step == read_metrics(store)[-1]["step"] > 0
    assert f"stopped as asked, saved at update {step}; the same command goes on from it" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("every", [0, 1])
def test_a_second_ctrl_c_ends_at_once_and_says_what_there_is(
    every: int, way: str, services: object, digits_folder: Path, tmp_path: Path
) -> None:
    process, store = training(str(digits_folder), tmp_path, f"run.checkpoint_every={every}", "run.keep_checkpoints=2", way)
    if every:
        wait_for(lambda: bool(Checkpoints(store, 2).steps()), "the first checkpoint")
    before = Checkpoints(store, 2).steps()[-1] if every else 0
    press_ctrl_c(process)
    time.sleep(0.2)  # two signals that come together are one
    press_ctrl_c(process)
    code, text = finish(process)
    assert code == 130, text
    assert "Traceback" not in text
    assert "asking for a checkpoint; Ctrl-C once more ends at once, without one" in text
    said = re.search(r"ended at once; the newest checkpoint is of update (\d+): the same command goes on from it", text)
    steps = Checkpoints(store, 2).steps()
    if every:
        assert said
        assert before <= int(said[1]) <= steps[-1]  # a worker on Ray may complete one after this
    elif said is None:
        assert "ended at once; there is no checkpoint yet: the same command begins at update 0" in text
    else:  # a worker on Ray was quicker than its end
        assert way != "--debug"
        assert steps == [int(said[1])]
