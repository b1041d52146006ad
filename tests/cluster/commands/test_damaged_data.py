"""``unbraid data pack`` of damaged, foreign and missing files: one line that names the file or the option, no traceback."""

import gzip
import io
import os
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE

Files = dict[str, bytes]


def image_file(height: int, width: int, seed: int = 0, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def idx(values: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", side) for side in values.shape) + values.tobytes()


def mat() -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"X": np.zeros((32, 32, 3, 8), np.uint8), "y": np.arange(1, 9)[:, None]})
    return buffer.getvalue()


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def keypoints(*names: str) -> bytes:
    return lines("name:keypoints_y:keypoints_x", *(f"{name}: {[5] * 18}: {[6] * 18}" for name in names))


def folder() -> Files:
    names = [f"{'ab'[i % 2]}/{i}.jpg" for i in range(6)]
    return {
        **{name: image_file(16, 12, i) for i, name in enumerate(names)},
        "attributes.csv": lines("name,young,split", *(f"{name},1,train" for name in names)),
        "splits.txt": lines(*(f"{name} train" for name in names)),
    }


def pairs() -> Files:
    return {f"{side}/{i}.jpg": image_file(16, 12, i) for side in "AB" for i in range(3)}


def celeba() -> Files:
    numbers = range(1, 7)
    return {
        **{f"img_align_celeba/{i:06d}.jpg": image_file(218, 178, i) for i in numbers},
        "list_attr_celeba.txt": lines("6", "Young Male", *(f"{i:06d}.jpg 1 -1" for i in numbers)),
        "list_eval_partition.txt": lines(*(f"{i:06d}.jpg {i % 3}" for i in numbers)),
    }


def svhn() -> Files:
    return {f"{split}_32x32.mat": mat() for split in ("train", "test")}


def chairs() -> Files:
    return {
        f"c{i}/renders/image_{k:03d}_p020_t{k:03d}_r096.png": image_file(60, 60, i, "PNG") for i in range(4) for k in range(2)
    }


def market1501() -> Files:
    names = [f"{i + 1:04d}_c1s1_{i:06d}_00.jpg" for i in range(3)]
    places = ("bounding_box_train", "bounding_box_test", "query")
    images = {f"{place}/{name}": image_file(128, 64, i) for place in places for i, name in enumerate(names)}
    return {**images, "train.csv": keypoints(*names)}


def deepfashion() -> Files:
    names = [f"img/WOMEN/Dresses/id_{i:08d}/0{i}_1_front.jpg" for i in range(4)]
    listed = lines("4", "image_name item_id evaluation_status", *(f"{n} id_{i:08d} train" for i, n in enumerate(names)))
    images = {name: image_file(256, 256, i) for i, name in enumerate(names)}
    return {**images, "list_eval_partition.txt": listed, "keypoints.csv": keypoints(*names)}


def idx_files() -> Files:
    images, labels = idx(np.zeros((8, 6, 6), np.uint8)), idx(np.arange(8, dtype=np.uint8))
    return {
        f"{p}-{file}": c
        for p in ("train", "t10k")
        for file, c in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels))
    }


KINDS: dict[str, tuple[Callable[[], Files], list[str]]] = {
    "folder": (folder, ["--attributes", "raw/attributes.csv", "--labels"]),
    "pairs": (pairs, []),
    "celeba": (celeba, []),
    "svhn": (svhn, []),
    "chairs": (chairs, []),
    "market1501": (market1501, ["--keypoints", "raw/train.csv"]),
    "deepfashion": (deepfashion, ["--keypoints", "raw/keypoints.csv"]),
    "idx": (idx_files, []),
    "mnist": (idx_files, []),
}
LISTS = {
    "folder": ["attributes.csv"],
    "pairs": [],
    "celeba": ["list_attr_celeba.txt", "list_eval_partition.txt"],
    "svhn": ["train_32x32.mat", "test_32x32.mat"],
    "chairs": [],
    "market1501": ["train.csv"],
    "deepfashion": ["keypoints.csv", "list_eval_partition.txt"],
    "idx": ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
    "mnist": ["train-images-idx3-ubyte"],
}
IMAGES = {
    "folder": "a/0.jpg",
    "pairs": "A/0.jpg",
    "celeba": "img_align_celeba/000001.jpg",
    "chairs": "c0/renders/image_000_p020_t000_r096.png",
    "market1501": "bounding_box_train/0001_c1s1_000000_00.jpg",
    "deepfashion": "img/WOMEN/Dresses/id_00000000/00_1_front.jpg",
}
FOREIGN: dict[str, bytes] = {
    "empty": b"",
    "binary": np.random.default_rng(1).bytes(500),
    "text": b"hello, this is text\nof two lines\n",
    "zeros": bytes(300),
    "json": b'{"a": [1]}',
    "one-long-line": b"a," * 100_000,
    "gzip-cut-off": gzip.compress(bytes(10_000))[:-9],
    "utf16-cut-off": b"\xff\xfeabc",
    "image": image_file(8, 8),
}
PLACES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link-to-nowhere": lambda path: path.symlink_to("nowhere"),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}
"""What else may lie at a file's place."""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


def laid_out(kind: str, **replaced: bytes) -> Path:
    raw = Path("raw")
    for name, content in KINDS[kind][0]().items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(replaced.get(name, content))
    return raw


def pack(kind: str, *options: str, source: str = "raw") -> Result:
    return CliRunner().invoke(main, ["data", "pack", kind, source, "out", *KINDS[kind][1], *options])


def require_one_error(result: Result, *named: str, status: int = 1) -> None:
    """The command has printed one error, of one line, that names something."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    error = result.output[result.output.index("Error: ") :].strip()
    assert "\n" not in error, error
    assert any(name in error for name in named), error
    assert "Traceback" not in result.output
    assert not Path("out/index.json").exists()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mnist"])
def test_the_files_as_published_are_packed(kind: str) -> None:
    laid_out(kind)
    result = pack(kind)
    assert result.exit_code == 0, result.output
    assert Path("out/index.json").exists()


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in LISTS.items() for name in names])
def test_a_foreign_file_in_place_of_a_list_is_one_error(kind: str, name: str, foreign: str) -> None:
    laid_out(kind, **{name: FOREIGN[foreign]})
    require_one_error(pack(kind), name)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in LISTS.items() for name in names])
def test_half_a_list_is_one_error(kind: str, name: str) -> None:
    laid_out(kind)
    whole = Path("raw", name).read_bytes()
    Path("raw", name).write_bytes(whole[: len(whole) // 2 - 3])
    require_one_error(pack(kind), name)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("kind", "name"), [(kind, names[0]) for kind, names in LISTS.items() if names])
def test_something_else_in_place_of_a_list_is_one_error(kind: str, name: str, place: str) -> None:
    laid_out(kind)
    Path("raw", name).unlink()
    PLACES[place](Path("raw", name))
    require_one_error(pack(kind), name)


@pytest.mark.parametrize("foreign", [name for name in FOREIGN if name != "image"])
@pytest.mark.parametrize(("kind", "name"), IMAGES.items())
def test_a_foreign_file_in_place_of_an_image_is_one_error_or_one_skipped_sample(kind: str, name: str, foreign: str) -> None:
    laid_out(kind, **{name: FOREIGN[foreign]})
    require_one_error(pack(kind), name)
    result = pack(kind, "--max-skipped", "1")
    assert result.exit_code == 0, result.output
    assert "skipped: " in result.output
    assert f"{name}: " in result.output


@pytest.mark.parametrize("place", [place for place in PLACES if place != "missing"])
@pytest.mark.parametrize("kind", ["pairs", "celeba"])
def test_something_else_in_place_of_an_image_is_left_out_and_counted(kind: str, place: str) -> None:
    laid_out(kind)
    Path("raw", IMAGES[kind]).unlink()
    PLACES[place](Path("raw", IMAGES[kind]))
    result = pack(kind)
    assert result.exit_code == 0, result.output
    assert "left out 1 " in result.output


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["empty", "file.txt", "pipe", "/dev/null", "/dev/zero", "nowhere", "empty.zip", "a" * 300])
def test_a_source_that_is_none_is_one_error(kind: str, source: str) -> None:
    laid_out(kind)  # for the lists that options name
    Path("empty").mkdir()
    Path("file.txt").write_text("hello")
    os.mkfifo("pipe")
    with zipfile.ZipFile("empty.zip", "w"):
        pass
    require_one_error(pack(kind, source=source), source)


@pytest.mark.parametrize(
    ("kind", "option", "value", "status"),
    [
        ("folder", "--max-skipped", "-1", 2),
        ("folder", "--shards", "0", 2),
        ("folder", "--shards", "1" + "0" * 30, 1),
        ("folder", "--threads", "0", 2),
        *(("folder", "--size", size, 2) for size in ("0x0", "64", "-1x3", "8192x8192", "100000x100000", "9" * 40 + "x1")),
        ("celeba", "--size", "100000x100000", 2),
        *((kind, "--test-share", share, 2) for kind in ("folder", "pairs") for share in ("2", "-0.1", "nan", "inf", "x")),
        ("folder", "--label-level", "0", 2),
        *(("folder", "--background", colour, 1) for colour in ("", "nocolour", "rgb(999,0,0)", "#12345")),
        *(("folder", "--name", name, 1) for name in ("x" * 400, "../x", "a/../b", "\x1b[2J")),
        ("folder", "--attributes", "nowhere", 1),
        ("folder", "--split-list", "nowhere", 1),
        ("market1501", "--keypoints", "nowhere", 1),
        ("market1501", "--keypoint-size", "0x4", 2),
    ],
)
def test_a_value_outside_of_its_range_is_one_error(kind: str, option: str, value: str, status: int) -> None:
    laid_out(kind)
    named = [value] if value == "nowhere" else [option, f"{int(value):d} shards"] if option == "--shards" else [option]
    require_one_error(pack(kind, option, value), *named, status=status)
    assert not list(Path().glob("out/*.tar"))


def test_a_set_without_a_name_is_one_error() -> None:
    laid_out("pairs")
    os.chdir("raw")
    result = CliRunner().invoke(main, ["data", "pack", "pairs", ".", "../out"])
    assert "Error: the set has no name; give it one with --name" in result.output


def test_images_larger_than_any_of_a_set_are_one_error() -> None:
    Path("raw").mkdir()
    for i in range(2):
        Image.new("RGB", (5000, 5000)).save(f"raw/{i}.png", compress_level=1)
    require_one_error(pack("pairs", "--side-by-side"), "resize them with --size")


@pytest.fixture
def other_user() -> Iterator[Path]:
    """A folder that this process cannot enter: root gives up its rights for the test."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(place)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [0, stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH], ids=["closed", "listed only"])
def test_a_folder_that_may_not_be_entered_is_one_error(kind: str, mode: int, other_user: Path) -> None:
    laid_out(kind)
    pack(kind, "--dry-run")  # so that all modules are imported
    shutil.copytree("raw", other_user / "raw")
    options = [option.replace("raw/", f"{other_user}/raw/") for option in KINDS[kind][1]]
    (other_user / "raw").chmod(mode)
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        result = CliRunner().invoke(main, ["data", "pack", kind, str(other_user / "raw"), "out", *options])
    finally:
        os.seteuid(user)
    require_one_error(result, f"{other_user}/raw")
    assert "Permission denied" in result.output
