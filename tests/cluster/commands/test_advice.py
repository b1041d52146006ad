"""What a finished run's message advises goes on with that run, under whatever name it was trained."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cluster.commands.test_train import train as train_pipeline
from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.cli import main
from unbraid.cluster.commands.train import _more_updates
from unbraid.cluster.jobs.server import Job
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.store import open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import run_names

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture(autouse=True)
def no_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


def train(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", *arguments, "--debug"])


@pytest.mark.parametrize("name", [[], ["run.name=mine"]])
def test_the_advised_command_goes_on_with_a_run(name: list[str], digits_folder: Path, tmp_path: Path) -> None:
    """A run of the default name, and one that was given a name."""
    command = ["infogan-mnist", *TINY, f"data.url={digits_folder}", f"run.storage={tmp_path / 'runs'}", *name]
    command += ["run.updates=3", "run.preview_every=0"]
    for _ in range(2):
        done = train(*command)
        assert done.exit_code == 0, done.output
    (run,) = run_names(str(tmp_path / "runs"))
    advised = re.search(r"the same command with (run\.name=\S+) and a larger run\.updates goes on with it", done.output)
    assert advised
    longer = train(*command, advised[1], "run.updates=5")
    assert longer.exit_code == 0, longer.output
    assert run_names(str(tmp_path / "runs")) == [run]
    assert Checkpoints(open_store(str(tmp_path / "runs" / run)), 2).steps() == [3, 5]


def test_the_advised_command_goes_on_with_a_stage_of_a_pipeline(people_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = train_pipeline(people_url, tmp_path / "runs")
        assert done.exit_code == 0, done.output
    first = re.search(r"run all-appearance is finished; `unbraid train (.*) run\.updates=N` goes on with it", done.output)
    assert first
    longer = train(*shlex.split(first[1]), "run.updates=5")
    assert longer.exit_code == 0, longer.output
    assert Checkpoints(open_store(str(tmp_path / "runs/all-appearance")), 2).steps()[-1] == 5


def test_the_advice_for_a_stage_on_s3_and_for_a_job_names_the_file(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.url = "s3://bucket/runs/mine"
    advice = "train --config s3://bucket/runs/mine/config.yaml run.updates=N"
    assert advice in _more_updates(resolve("infogan-mnist"), store, "pose")
    metadata = {"run": "mine", "storage": "s3://bucket/runs"}
    assert advice in Job("x", "SUCCEEDED", "", "", metadata, 0, 0, 0).more_updates
    folder = Job("x", "SUCCEEDED", "", "", {"run": "mine", "storage": "/runs"}, 0, 0, 0).more_updates
    assert "train --config FILE run.updates=N, FILE a copy of /runs/mine/config.yaml" in folder
    assert Job("x", "SUCCEEDED", "", "", {"campaign": "mine", "storage": "s3://b"}, 0, 0, 0).more_updates == ""
