"""``unbraid generate dpig leakage``: a run of stage I beside controls that can be compared with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE

WHITE = 255


@pytest.fixture
def storage(trained_dpig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained runs, and ``control``, a copy of ``appearance`` that leaks twice as much."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    runs = tmp_path / "runs"
    for name in ("appearance", "pose"):
        shutil.copytree(trained_dpig / name, runs / name)
    shutil.copytree(runs / "appearance", runs / "control")
    record = json.loads((runs / "control/run.json").read_text())
    record["evaluation"]["leakage/off_diagonal"] *= 2
    (runs / "control/run.json").write_text(json.dumps(record))
    return runs


def leakage(storage: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["generate", "dpig", "leakage", *arguments, "--storage", str(storage)])


def test_a_run_and_its_control_are_compared(storage: Path) -> None:
    done = leakage(storage, "appearance", "control")
    assert done.exit_code == 0, done.output
    own = json.loads((storage / "appearance/run.json").read_text())["evaluation"]["leakage/off_diagonal"]
    assert f"appearance: mean leak {own:.3f}" in done.output
    assert f"control: mean leak {2 * own:.3f}" in done.output
    assert "appearance has 0.500 times as much" in done.output
    both = Image.open("leakage.png").size
    assert leakage(storage, "appearance", "--output", "one.png").exit_code == 0
    one = np.asarray(Image.open("one.png"))
    assert both[0] > 1.7 * one.shape[1], "a table for each run"
    assert (one != WHITE).any()


def test_a_control_of_other_size_is_refused(storage: Path) -> None:
    path = storage / "control/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["networks"]["decoder"]["channels"] *= 3
    path.write_text(yaml.safe_dump(config))
    refused = leakage(storage, "appearance", "control")
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: control: a control of other size: ")
    assert "parameters, appearance has" in refused.output
    assert not Path("leakage.png").exists()


def _other_set(record: dict[str, object]) -> None:
    record["data_digest"] = "0" * 64


def _running(record: dict[str, object]) -> None:
    record["status"] = "running"
    del record["evaluation"]


def _photographs(record: dict[str, object]) -> None:
    record["evaluation"] = {"rebuilt/ssim": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_set, "of the set 000000000000, appearance on split test of the set"),
        (_running, "has no leakage/off_diagonal: it is running, and measured when it is finished"),
        (_photographs, "has no leakage/off_diagonal: its set has no known truth"),
    ],
)
def test_a_run_that_cannot_be_compared_is_one_error(storage: Path, change: object, message: str) -> None:
    path = storage / "control/run.json"
    record = json.loads(path.read_text())
    assert callable(change)
    change(record)
    path.write_text(json.dumps(record))
    refused = leakage(storage, "appearance", "control")
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: control: ")
    assert message in refused.output


def test_a_run_of_another_stage_is_refused(storage: Path) -> None:
    refused = leakage(storage, "pose")
    assert refused.exit_code == 1
    assert refused.output == "Error: pose: is a run of dpig.pose; leakage is measured in runs of dpig.appearance\n"
