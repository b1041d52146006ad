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
    done = unbraid("traverse", "info", "--storage", str(trained), "--code", "continuous_0", "--rows", "2", "--steps", "3")
    assert done.exit_code == 0, done.output
    first = np.asarray(Image.open(tmp_path / "traverse.png"))
    assert first.shape == (2 * SIDE - 2, 3 * SIDE - 2, 3)
    still = ["traverse", "info", "--storage", str(trained), "--code", "continuous_0", "--rows", "2", "--steps", "3"]
    assert unbraid(*still, "--from", "1", "--to", "1", "--output", "still.png").exit_code == 0
    same = np.asarray(Image.open(tmp_path / "still.png"))
    assert np.array_equal(same[:, : SIDE - 2], same[:, SIDE : 2 * SIDE - 2]), "nothing but the code varies along a row"
    assert not np.array_equal(first[:, : SIDE - 2], first[:, SIDE : 2 * SIDE - 2])


def test_all_codes_are_below_each_other_and_a_categorical_one_has_a_column_a_value(trained: Path, tmp_path: Path) -> None:
    done = unbraid("traverse", "info", "--storage", str(trained), "--rows", "1", "--steps", "3")
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
        (["traverse", "info", "--code", "continous_0"], "continous_0: the model's codes are categorical_0, continuous_0"),
        (["traverse", "none"], "no run 'none'"),
        (["traverse", "info", "--from", "-3"], "continuous_0=-3: expected -2 to 2"),
        (["traverse", "info", "--gif"], "have different numbers of steps; name one with --code"),
        (["sample", "info", "--set", "categorical_0=12"], "categorical_0=12: expected a class from 0 to 9"),
        (["sample", "info", "--set", "categorical_0"], "--set categorical_0: expected CODE=NUMBER or CODE=LOW..HIGH"),
        (["sort", "info", "--code", "continuous_0"], "--code continuous_0: the run's categorical codes are categorical_0"),
        (["read", "info", "--image", "none.png"], "none.png: cannot be read"),
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


def test_a_sample_follows_what_is_set_and_many_are_single_files(trained: Path, tmp_path: Path) -> None:
    where = ["sample", "info", "--storage", str(trained), "--set", "categorical_0=3", "--set", "continuous_0=-2..2"]
    for name in ("one.png", "two.png"):
        done = unbraid(*where, "--columns", "3", "--output", name)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    done = unbraid(*where, "--count", "300", "--output", "many")
    assert done.exit_code == 0, done.output
    assert "many: 300 images" in done.output
    files = sorted((tmp_path / "many").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(300)]
    assert Image.open(files[299]).size == (28, 28)
    assert files[0].read_bytes() != files[256].read_bytes()
    again = unbraid(*where, "--count", "3", "--output", "many")
    assert again.exit_code == 1
    assert "many: is not empty; name a new folder" in again.output


@pytest.mark.parametrize("use", [["traverse", "--code", "continuous_0"], ["interpolate"]])
@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_what_moves_can_be_seen_moving(trained: Path, tmp_path: Path, use: list[str], kind: str) -> None:
    done = unbraid(use[0], "info", *use[1:], "--storage", str(trained), "--steps", "4", "--rows", "2", f"--{kind}")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / f"{use[0]}.{kind}") as moving:
        assert getattr(moving, "n_frames", 1) == 6
        assert moving.size == (SIDE - 2, 2 * SIDE - 2)


def test_own_images_are_read_and_real_ones_sorted(trained: Path, tmp_path: Path) -> None:
    Image.new("RGB", (60, 50), "gray").save(tmp_path / "mine.jpg")
    where = ["--storage", str(trained)]
    refused = unbraid("read", "info", "--image", "mine.jpg", *where)
    assert refused.exit_code == 1
    assert "mine.jpg: is 60x50 in colour, and the model is for 28x28 grey" in refused.output
    done = unbraid("read", "info", "--image", "mine.jpg", "--resize", *where)
    assert done.exit_code == 0, done.output
    assert "categorical_0_probability" in done.output
    assert "mine.jpg" in done.output
    assert Image.open(tmp_path / "read.png").size == (9 * SIDE - 2, SIDE - 2)
    done = unbraid("sort", "info", "--images", "100", *where)
    assert done.exit_code == 0, done.output
    assert Image.open(tmp_path / "sort.png").size == (20 * SIDE - 2, 10 * SIDE - 2)
