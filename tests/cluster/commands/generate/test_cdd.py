"""``unbraid generate cdd``: pictures of pairs, and own images."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.trainers.systems.pairs import pack_coloured_digits
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("use", "options", "columns", "rows"),
    [
        ("translate", ["--samples", "4"], 5, 3),
        ("translate", ["--from", "y", "--samples", "2"], 3, 3),
        ("transfer", ["--references", "2"], 3, 4),
        ("exclusive", ["--from", "y"], 3, 3),
        ("interpolate", ["--columns", "5", "--moving", "exclusive"], 7, 3),
        ("interpolate", ["--columns", "4", "--domain", "y"], 6, 3),
    ],
)
def test_every_use_of_cdd_draws_its_picture(
    trained_cdd: Path, tmp_path: Path, use: str, options: list[str], columns: int, rows: int
) -> None:
    arguments = ["generate", "cdd", use, "cdd", "--storage", str(trained_cdd), "--rows", "3", *options]
    result = unbraid(*arguments)
    assert result.exit_code == 0, result.output
    picture = Image.open(tmp_path / f"{use}.png")
    assert picture.size == (columns * (32 * 3 + 2) - 2, rows * (32 * 3 + 2) - 2)  # pictures of 32x32 are enlarged
    again = unbraid(*arguments, "--output", "folder/again.png")
    assert again.exit_code == 0
    assert (tmp_path / "folder/again.png").read_bytes() == (tmp_path / f"{use}.png").read_bytes()


def test_own_images_are_translated_whatever_their_size_when_that_is_asked_for(trained_cdd: Path, tmp_path: Path) -> None:
    Image.new("RGB", (100, 80), "red").save(tmp_path / "large.jpg")
    Image.new("L", (32, 32), 200).save(tmp_path / "grey.png")
    arguments = ["generate", "cdd", "translate", "cdd", "--storage", str(trained_cdd), "--samples", "2"]
    own = ["--image", "large.jpg", "--image", "grey.png"]
    for count in ([], ["--count", "4"]):
        result = unbraid(*arguments, *own, *count)
        assert result.exit_code == 1
        assert "large.jpg: is 100x80 in colour, and the model is for 32x32 in colour" in result.output
    result = unbraid(*arguments, *own, "--resize", "--count", "9", "--output", "many")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "many").iterdir())) == 9
    result = unbraid(*arguments, *own, "--resize")
    assert result.exit_code == 0, result.output
    picture = Image.open(tmp_path / "translate.png")
    assert picture.size == (3 * 98 - 2, 2 * 98 - 2)
    pixels = np.asarray(picture)
    assert pixels[5, 5, 0] > 240
    assert pixels[103, 5].tolist() == [200, 200, 200]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("none.png", None, "cannot be read (No such file"), ("text.png", b"text", "not one of PNG, JPEG")],
)
def test_a_file_that_is_no_image_is_one_error(
    trained_cdd: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = unbraid("generate", "cdd", "translate", "cdd", "--storage", str(trained_cdd), "--image", name)
    assert result.exit_code == 1
    assert f"Error: {name}: " in result.output
    assert message in result.output
    assert not (tmp_path / "translate.png").exists()


@pytest.mark.parametrize("by", ["shared", "exclusive", "pixels"])
def test_retrieval_draws_its_sheet_and_says_how_many_are_right(trained_cdd: Path, tmp_path: Path, by: str) -> None:
    options = ["--rows", "4", "--top", "3", "--gallery", "50", "--by", by]
    result = unbraid("generate", "cdd", "retrieve", "cdd", "--storage", str(trained_cdd), *options)
    assert result.exit_code == 0, result.output
    assert f"of 4 queries find their partner first among 50 images by {by}" in result.output
    assert Image.open(tmp_path / "retrieve.png").size == (4 * (36 * 3 + 2) - 2, 4 * (36 * 3 + 2) - 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "nothing"], "no run 'nothing' in"),
        (["transfer", "cdd", "--rows", "60", "--references", "61"], "only 120 held-out pairs are there; ask for fewer"),
        (["retrieve", "cdd", "--gallery", "4", "--top", "5"], "only 4 images can be searched; ask for fewer"),
    ],
)
def test_arguments_that_do_not_fit_are_one_error(trained_cdd: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = unbraid("generate", "cdd", *arguments, "--storage", str(trained_cdd))
    assert result.exit_code == 1
    assert message in result.output
    assert not list(tmp_path.glob("*.png"))


def test_another_kind_of_run_or_set_is_refused(trained_cdd: Path, trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    result = unbraid("generate", "cdd", "translate", "pose", "--storage", str(trained_dpig))
    assert "pose: is a run of dpig.pose; name a run of cdd" in result.output
    result = unbraid("generate", "cdd", "translate", "cdd", "--storage", str(trained_cdd), "--data", people_url)
    assert "have no x and no y, only" in result.output
    larger = pack_coloured_digits(tmp_path / "larger", 64)
    result = unbraid("generate", "cdd", "translate", "cdd", "--storage", str(trained_cdd), "--data", larger)
    assert "(3, 64, 64)" in result.output and "run is for images of (3, 32, 32)" in result.output
    assert result.exit_code == 1


def test_translations_are_written_one_by_one_and_interpolations_move(trained_cdd: Path, tmp_path: Path) -> None:
    where = ["cdd", "--storage", str(trained_cdd)]
    result = unbraid("generate", "cdd", "translate", *where, "--count", "130", "--samples", "2", "--output", "many")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "many").iterdir())) == 130
    result = unbraid("generate", "cdd", "interpolate", *where, "--columns", "4", "--rows", "2", "--gif")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "interpolate.gif") as moving:
        assert getattr(moving, "n_frames", 1) == 10
