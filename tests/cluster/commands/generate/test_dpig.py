"""``unbraid generate dpig``: pictures of people, and a folder that can be packed again."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("use", "options", "columns", "rows"),
    [
        ("reconstruct", [], 3, 2),
        ("sample", ["--columns", "4"], 4, 3),
        ("sample", ["--factor", "pose", "--columns", "4"], 5, 3),
        ("transfer", [], 3, 4),
        ("swap", ["--factor", "background"], 4, 4),
        ("interpolate", ["--columns", "5", "--factor", "foreground"], 5, 3),
        ("interpolate", ["--columns", "5", "--real", "--people", "4"], 7, 2),
    ],
)
def test_every_use_draws_its_picture(
    trained_dpig: Path, tmp_path: Path, use: str, options: list[str], columns: int, rows: int
) -> None:
    arguments = ["generate", "dpig", use, "mapping", "--storage", str(trained_dpig), "--people", "3", *options]
    result = unbraid(*arguments)
    assert result.exit_code == 0, result.output
    picture = Image.open(tmp_path / f"{use}.png")
    times = 3  # pictures of 32x16 are enlarged
    assert picture.size == (columns * (16 * times + 2) - 2, rows * (32 * times + 2) - 2)
    assert len(set(picture.get_flattened_data())) > 1000  # colours; after a few updates contrast is low
    again = unbraid(*arguments, "--output", "folder/again.png")
    assert again.exit_code == 0
    assert (tmp_path / "folder/again.png").read_bytes() == (tmp_path / f"{use}.png").read_bytes()


@pytest.mark.parametrize("use", ["reconstruct", "transfer", "swap"])
def test_stage_one_alone_does_what_needs_no_noise(trained_dpig: Path, use: str) -> None:
    result = unbraid("generate", "dpig", use, "appearance", "--storage", str(trained_dpig), "--people", "2")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("appearance", "this run has no mapping for the foreground"),
        ("pose", "is a run of dpig.pose; name a run of dpig.mapping or dpig.appearance"),
        ("nothing", "no run 'nothing' in"),
    ],
)
def test_a_run_that_cannot_draw_is_refused(trained_dpig: Path, tmp_path: Path, run: str, message: str) -> None:
    result = unbraid("generate", "dpig", "sample", run, "--storage", str(trained_dpig))
    assert result.exit_code == 1
    assert message in result.output
    assert not list(tmp_path.glob("*.png"))


def test_a_picture_that_cannot_be_written_is_one_error(trained_dpig: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = unbraid("generate", "dpig", "swap", "mapping", "--storage", str(trained_dpig), "--output", "file/swap.png")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "file" in result.output
    export = unbraid("generate", "dpig", "export", "mapping", "file/virtual", "--storage", str(trained_dpig))
    assert export.exit_code == 1
    assert export.output.startswith("Error: ")


def test_a_virtual_set_is_packed_like_market1501(trained_dpig: Path, tmp_path: Path) -> None:
    arguments = ["generate", "dpig", "export", "mapping", "virtual", "--storage", str(trained_dpig), "--identities", "5"]
    result = unbraid(*arguments, "--images", "3")
    assert result.exit_code == 0, result.output
    assert {p.name: len(list(p.iterdir())) for p in Path("virtual").iterdir() if p.is_dir()} == {
        "bounding_box_train": 9, "bounding_box_test": 4, "query": 2,
    }  # fmt: skip
    refused = unbraid(*arguments)
    assert refused.exit_code == 1
    assert "is not empty" in refused.output
    packed = unbraid(
        "data", "pack", "market1501", "virtual", "set", "--keypoints", "virtual/keypoints.csv", "--size", "32x16",
        "--keypoint-size", "32x16", "--shards", "1", "--max-skipped", "15",
    )  # fmt: skip
    assert packed.exit_code == 0, packed.output
    assert read_index(open_store("set")).image_shapes == {"image": (3, 32, 16)}
    (batch,) = read_split("set", "train", 20)
    assert set(batch["person"].tolist()) <= {1, 2, 3}
    first = sorted(Path("virtual/bounding_box_train").iterdir())[0]
    assert first.name == "0001_c1s1_000000_01.jpg"
    assert Image.open(io.BytesIO(first.read_bytes())).size == (16, 32)


def test_a_reader_of_identities_learns_from_a_virtual_set(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    arguments = ["generate", "dpig", "export", "mapping", "virtual", "--storage", str(trained_dpig), "--identities", "5"]
    assert unbraid(*arguments, "--images", "3").exit_code == 0
    learning = ["--epochs", "2", "--batch", "4", "--width", "4"]
    result = unbraid("reidentify", "virtual", people_url, *learning, "--output", "folder/scores.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "folder/scores.json").read_text())
    assert found["learnt"] == "virtual, split train: 9 images of 3 people"
    assert found["size"] == [32, 16]
    assert found["learning"] == {"epochs": 2, "batch": 4, "rate": 2e-3, "width": 4, "seed": 0}
    head, *rows = result.output.splitlines()[-4:-1]
    assert head.split() == ["rank-1", "rank-5", "rank-10", "mAP", "mAP", "by", "steps"]
    shown = {row.split()[0]: row.split()[1] for row in rows}
    assert shown == {name: f"{100 * found[name]['rank_1']:.1f}%" for name in ("untrained", "trained")}
    own = unbraid("reidentify", people_url, "virtual", *learning)
    assert own.exit_code == 0, own.output
    assert json.loads((tmp_path / "reidentify.json").read_text())["queries"] == "virtual, split query: 2 images of 2 people"


def test_a_set_of_nobody_known_is_one_error_of_reidentify(people_url: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = unbraid("reidentify", people_url, "empty")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "is neither a packed set nor a folder in Market-1501's layout" in result.output
    assert not (tmp_path / "reidentify.json").exists()


def test_own_photographs_are_posed_and_people_drawn_one_by_one(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    people = next(iter(read_split(people_url, "train", 1, 1)))
    picture = Image.fromarray(people["image"][0].permute(1, 2, 0).numpy())
    picture.resize((32, 64)).save("me.png")
    points = [[2 * float(x), 2 * float(y), 1.0] for y, x, _ in people["keypoints"][0].tolist()]
    Path("me.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": [n for point in points for n in point]}]}))
    where = ["generate", "dpig", "transfer", "mapping", "--storage", str(trained_dpig), "--people", "2"]
    mine = ["--image", "me.png", "--keypoints", "me.json"]
    result = unbraid(*where, *mine, "--resize")
    assert result.exit_code == 0, result.output
    assert Image.open("transfer.png").size == (3 * 50 - 2, 96)
    for arguments, message in (
        (mine, "me.png: is 32x64 in colour, and the model is for 16x32"),
        (mine[:2], "--image is given 1 times and --keypoints 0 times"),
        ([*mine, "--resize", "--target", "none.json"], "none.json: cannot be read"),
    ):
        result = unbraid(*where, *arguments)
        assert result.exit_code == 1
        assert message in result.output
    result = unbraid(
        "generate", "dpig", "sample", "mapping", "--storage", str(trained_dpig), "--count", "5", "--output", "many"
    )
    assert result.exit_code == 0, result.output
    assert len(list(Path("many").iterdir())) == 5
    result = unbraid("generate", "dpig", "interpolate", "mapping", "--storage", str(trained_dpig), "--people", "2", "--webp")
    assert result.exit_code == 0, result.output
    with Image.open("interpolate.webp") as moving:
        assert getattr(moving, "n_frames", 1) == 14
