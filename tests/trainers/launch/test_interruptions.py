"""A run that is asked to stop: nothing that was trained is lost."""

import signal
from pathlib import Path

import pytest

from tests.trainers.launch.test_launch import finish, start, wait_for
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, run_status


@pytest.mark.parametrize("way", ["--debug", pytest.param("run.workers=1", marks=pytest.mark.slow)])
def test_sigterm_saves_a_checkpoint_of_the_update_at_which_it_came(
    way: str, services: object, digits_folder: Path, tmp_path: Path
) -> None:
    """In one process, and as a Ray Train worker; there is no other checkpoint. test_loop shows that resuming is exact."""
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
