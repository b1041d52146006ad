"""``unbraid data``: packing, inspecting and timing as a user does it, new kinds of sources, and the messages of mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets import sources
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import open_store

NEW_SOURCE = '''\
"""Grey squares of a given shade.

For a test.
"""

from pathlib import Path
from typing import Annotated

import numpy as np

from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.sources.kinds import FetchKind, MakeKind, Option, PackKind, name_of_path
from unbraid.datasets.sources.source import Item, Source, image_field


def read_squares(path: Path, name: str, *, side: Annotated[int, Option("Pixels of a side.", least=1)] = 4) -> Source:
    images = [encode_png(np.full((side, side), int(shade), np.uint8)) for shade in path.read_text().split()]
    items = [Item(f"{i:03d}", lambda image=image: {"png": image}, str(i)) for i, image in enumerate(images)]
    return Source(name, {"image": image_field((1, side, side))}, {"train": items})


def make_squares(name: str, *, size: Annotated[tuple[int, int], Option("Of an image.")] = (8, 8)) -> Source:
    item = Item("0", lambda: {"png": encode_png(np.zeros(size, np.uint8))}, "0")
    return Source(name, {"image": image_field((1, *size))}, {"train": [item]})


def fetch_squares(destination: Path, source: Path | None, report: object) -> Path:
    destination.write_text("1 2 3")
    return destination


FETCH = FetchKind(fetch_squares)
PACK = PackKind(read_squares, example="shades.txt --side 8", default_name=name_of_path)
MAKE = MakeKind(make_squares, example="./squares")
'''


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


def test_a_folder_is_planned_packed_inspected_and_timed(photos: Path, tmp_path: Path) -> None:
    plan = unbraid("pack", "folder", str(photos), "out", "--labels", "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert "27 samples in 1 shards of 27" in plan.output
    assert "held out 5 samples of train for validation (--validation 0.1)" in plan.output
    assert not (tmp_path / "out").exists()
    first = unbraid("pack", "folder", str(photos), "out", "--labels", "--shards", "16")
    assert first.exit_code == 0, first.output
    assert "packed 40 of 40 samples" in first.output
    index = read_index(open_store("out"))
    assert (index.name, index.classes, len(index.shards("train"))) == ("photos", ("a", "b"), 16)
    again = unbraid("pack", "folder", str(photos), "out", "--labels", "--shards", "16")
    assert (again.exit_code, "the same set is packed at out already" in again.output) == (0, True), again.output
    other = unbraid("pack", "folder", str(photos), "out")
    assert other.exit_code == 1
    assert "another set is packed there, photos" in other.output
    assert "--labels: True, now not given" in other.output
    looked = unbraid("inspect", "out", "--sheet", "sheet.png")
    assert looked.exit_code == 0, looked.output
    assert "27 samples in 16 shards" in looked.output
    assert "test     by label: a: 4, b: 4" in looked.output
    assert "sheet.png: 40 of 40 samples" in looked.output
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 1000
    timed = unbraid("bench", "out", "--seconds", "0.2", "--batch", "16", "--lanes", "8", "--workers", "2")
    assert timed.exit_code == 0, timed.output
    assert "is the limit: the stream reaches" in timed.output


@pytest.fixture
def new_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A further module of `datasets/sources`, in a folder of its own; returns its kind."""
    folder = tmp_path / "further"
    folder.mkdir()
    (folder / "grey_squares.py").write_text(NEW_SOURCE)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "unbraid.datasets.sources.grey_squares", raising=False)
    return "grey-squares"


def test_a_source_is_one_new_file(new_source: str, tmp_path: Path) -> None:
    for command in ("fetch", "pack", "make"):
        listed = [" ".join(line.split()) for line in unbraid(command, "--help").output.splitlines()]
        assert f"{new_source} Grey squares of a given shade" in listed
    help_text = " ".join(unbraid("pack", new_source, "--help").output.split())
    assert "--side INTEGER RANGE Pixels of a side. [default: 4; x>=1]" in help_text
    assert "unbraid data pack grey-squares shades.txt --side 8" in help_text
    assert unbraid("fetch", new_source, "--to", "shades.txt").exit_code == 0
    packed = unbraid("pack", new_source, "shades.txt", "out", "--side", "6")
    assert packed.exit_code == 0, packed.output
    index = read_index(open_store("out"))
    counts = {split: sum(shard.count for shard in shards) for split, shards in index.splits.items()}
    assert (index.name, index.fields["image"].shape, counts) == ("shades", (1, 6, 6), {"train": 2, "validation": 1})
    made = unbraid("make", new_source, "made", "--size", "5x7")
    assert made.exit_code == 0, made.output
    assert read_index(open_store("made")).name == "grey-squares-5x7"


def test_kinds_are_listed_without_importing_their_modules() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from unbraid.cluster.cli import main;"
        "result = CliRunner().invoke(main, ['data', 'pack', '--help']);"
        "print('market1501' in result.output, [m for m in ('numpy', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["pack", "folder", "nowhere", "out"], 1, "nowhere: no such folder or archive"),
        (["pack", "folder", "photos", "out", "--size", "64"], 2, "'64' is not HEIGHTxWIDTH, such as 128x64"),
        (["pack", "folder", "photos", "out", "--attributes", "no.csv"], 1, "no.csv: No such file or directory"),
        (["pack", "folder", "photos", "out", "--shards", "33"], 1, "33 shards for 27 samples"),
        (["pack", "market1501", "photos", "out"], 1, "name the CSV files (name:keypoints_y:keypoints_x) with --keypoints"),
        (["pack", "svhn", "photos", "out"], 1, "train_32x32.mat: no such file"),
        (["pack", "celeba", "photos", "out"], 1, "none of img_align_celeba, img_align_celeba.zip,"),
        (
            ["pack", "foldr", "photos", "out"],
            2,
            "no such command 'foldr' (did you mean folder?)",
        ),
        (["pack", "svhn", "photos", "out", "--labels"], 2, "No such option"),
        (
            ["pack", "folder", "s3://bucket/raw", "out"],
            2,
            "SOURCE s3://bucket/raw: raw files are read from a folder or an archive",
        ),
        (["pack", "mnist", "out"], 1, ".unbraid/raw/mnist/train-images-idx3-ubyte: no such file"),
        (["pack", "mnist", "s3://?/elsewhere"], 1, "s3://?/elsewhere: "),
        (["pack", "folder", "photos", "out", "--test-share", "1.5"], 2, "1.5 is not in the range 0<=x<=1"),
        (["make", "persons", "out"], 2, "no such command 'persons'; expected one of people"),
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
        (["--lanes", "64", "--batch", "64"], "27 samples do not fill one batch of 64: use a smaller data.batch"),
        (["--workers", "17"], "16 lanes cannot be shared by 17 ranks"),
        (["--split", "dev"], "no samples in split 'dev'"),
    ],
)
def test_numbers_that_do_not_fit_the_set_are_refused(photos: Path, options: list[str], message: str) -> None:
    assert unbraid("pack", "folder", str(photos), "out").exit_code == 0
    result = unbraid("bench", "out", "--seconds", "0.1", *(["--batch", "16"] if "--batch" not in options else []), *options)
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert message in result.output
