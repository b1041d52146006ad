"""``unbraid generate infogan``: traversals of codes, and L_I of several runs in one plot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.loop import train
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.step.distributed import World

SIDE = 28 * 4 + 2
"""Of an image of 28 pixels in a sheet, which enlarges it."""


@pytest.fixture(scope="module")
def trained(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with runs ``info`` and ``plain`` after a few updates."""
    storage = tmp_path_factory.mktemp("runs")
    for name, preset in (("info", "infogan-mnist-reference"), ("plain", "infogan-mnist-plain")):
        run = [f"run.name={name}", f"run.storage={storage}", f"data.url={digits_folder}", "run.updates=4", "run.log_every=1"]
        config = resolve(preset, [*TINY, *run])
        preflight(config, "test")
        train(config, open_run(str(storage), name), World(), torch.device("cpu"), lambda line: None)
    return storage


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["generate", "infogan", *arguments])


def test_a_traversal_varies_one_code_along_the_columns(trained: Path, tmp_path: Path) -> None:
    done = unbraid("traverse", "info", "--storage", str(trained), "--code", "continuous_0", "--rows", "2", "--columns", "3")
    assert done.exit_code == 0, done.output
    first = np.asarray(Image.open(tmp_path / "traverse.png"))
    assert first.shape == (2 * SIDE - 2, 3 * SIDE - 2, 3)
    still = ["traverse", "info", "--storage", str(trained), "--code", "continuous_0", "--rows", "2", "--columns", "3"]
    assert unbraid(*still, "--range", "1", "1", "--output", "still.png").exit_code == 0
    same = np.asarray(Image.open(tmp_path / "still.png"))
    assert np.array_equal(same[:, : SIDE - 2], same[:, SIDE : 2 * SIDE - 2]), "nothing but the code varies along a row"
    assert not np.array_equal(first[:, : SIDE - 2], first[:, SIDE : 2 * SIDE - 2])


def test_all_codes_are_below_each_other_and_a_categorical_one_has_a_column_a_value(trained: Path, tmp_path: Path) -> None:
    done = unbraid("traverse", "info", "--storage", str(trained), "--rows", "1", "--columns", "3")
    assert done.exit_code == 0, done.output
    picture = Image.open(tmp_path / "traverse.png")
    assert picture.size == (10 * SIDE - 2, 3 * (SIDE - 2) + 2 * 8)


def test_several_runs_are_one_plot_with_the_ceiling(trained: Path, tmp_path: Path) -> None:
    for names in (["info"], ["info", "plain"]):
        done = unbraid("information", *names, "--storage", str(trained), "--output", f"{len(names)}.png")
        assert done.exit_code == 0, done.output
    one, two = (np.asarray(Image.open(tmp_path / f"{count}.png")) for count in (1, 2))
    assert one.shape == two.shape
    orange = (np.abs(two.astype(int) - np.array([255, 127, 14])) < 40).all(2)
    assert orange.sum() > 20, "the second run's curve"
    assert (np.abs(one.astype(int) - np.array([255, 127, 14])) < 40).all(2).sum() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traverse", "info", "--code", "continous_0"], "--code continous_0: the run's codes are categorical_0, continuous_0"),
        (["traverse", "none"], "no run 'none'"),
        (["information", "info", "--code", "categorical_7"], "--code categorical_7: the codes of info are categorical_0"),
        (["information"], "Missing argument"),
    ],
)
def test_mistakes_are_one_message(trained: Path, arguments: list[str], message: str) -> None:
    done = unbraid(*arguments, "--storage", str(trained))
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_run_of_another_system_has_no_such_curve(trained_cdd: Path) -> None:
    done = unbraid("information", "cdd", "--storage", str(trained_cdd))
    assert done.exit_code == 1
    assert "cdd: is a run of cdd; name runs of infogan" in done.output
