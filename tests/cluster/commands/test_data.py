"""``unbraid data``: packing, looking and timing as a user does it, and what a mistake is answered with."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import open_store


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 12, 3), dtype=np.uint8)
        path = tmp_path / f"photos/{'train' if i < 32 else 'test'}/{'ab'[i % 2]}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", *arguments])


def test_a_folder_is_planned_packed_looked_at_and_timed(photos: Path, tmp_path: Path) -> None:
    plan = unbraid("pack", "folder", str(photos), "out", "--labels", "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert "32 samples in 32 shards of 1" in plan.output
    assert not (tmp_path / "out").exists()
    first = unbraid("pack", "folder", str(photos), "out", "--labels", "--shards", "16")
    assert first.exit_code == 0, first.output
    assert "packed 40 of 40 samples" in first.output
    index = read_index(open_store("out"))
    assert (index.name, index.classes, len(index.shards("train"))) == ("photos", ("a", "b"), 16)
    again = unbraid("pack", "folder", str(photos), "out")
    assert "is packed at out already" in again.output
    looked = unbraid("inspect", "out", "--sheet", "sheet.png")
    assert looked.exit_code == 0, looked.output
    assert "32 images in 16 shards" in looked.output
    with Image.open("sheet.png") as sheet:
        assert sheet.width == 20 * 14
    timed = unbraid("bench", "out", "--seconds", "0.2", "--batch", "16", "--lanes", "8", "--workers", "2")
    assert timed.exit_code == 0, timed.output
    assert "binds: the stream reaches" in timed.output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["pack", "folder", "nowhere", "out"], 1, "nowhere: no such folder or archive"),
        (["pack", "folder", "photos", "out", "--size", "64"], 2, "'64' is not HEIGHTxWIDTH, such as 128x64"),
        (["pack", "folder", "photos", "out", "--attributes", "no.csv"], 1, "no.csv: cannot be read"),
        (["pack", "folder", "photos", "out", "--shards", "33"], 1, "33 shards for 32 samples"),
        (["pack", "market1501", "photos", "out"], 1, "name the CSV files (name:keypoints_y:keypoints_x) with --keypoints"),
        (["pack", "svhn", "photos", "out"], 1, "train_32x32.mat: no such file"),
        (["pack", "celeba", "photos", "out"], 1, "neither img_align_celeba nor img_align_celeba.zip is there"),
        (["bench", "nowhere"], 1, "a packed data set was expected at nowhere"),
    ],
)
def test_a_mistake_is_one_message(photos: Path, tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    result = unbraid(*arguments)
    assert result.exit_code == status, result.output
    assert message in result.output
    assert isinstance(result.exception, SystemExit)
    assert not list((tmp_path / "out").glob("*.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lanes", "64", "--batch", "64"], "64 lanes need at least as many shards, there are 32"),
        (["--workers", "17"], "16 lanes cannot be shared by 17 ranks"),
        (["--split", "valid"], "no samples in split 'valid'"),
    ],
)
def test_numbers_that_do_not_fit_the_shards_are_told(photos: Path, options: list[str], message: str) -> None:
    assert unbraid("pack", "folder", str(photos), "out").exit_code == 0
    result = unbraid("bench", "out", "--seconds", "0.1", *(["--batch", "16"] if "--batch" not in options else []), *options)
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert message in result.output
