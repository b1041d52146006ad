"""Market-1501 and DeepFashion: identities with keypoints."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.sources.raw_files import packed, picture
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.packing.validation import with_validation
from unbraid.datasets.sources.deepfashion import read_deepfashion
from unbraid.datasets.sources.market1501 import read_market1501
from unbraid.datasets.store import FolderStore


def keypoint_line(name: str, seed: int, missing: int = 3) -> str:
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(0, 128, 18).tolist(), generator.integers(0, 64, 18).tolist()
    for i in range(missing):
        rows[i] = columns[i] = -1
    return f"{name}: {json.dumps(rows)}: {json.dumps(columns)}"


@pytest.fixture
def market(tmp_path: Path) -> Path:
    root = tmp_path / "Market-1501"
    names = {
        "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c3s2_000551_01.jpg", "0007_c2s1_000001_01.jpg"],
        "bounding_box_test": ["-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0003_c6s1_000001_01.jpg"],
        "query": ["0003_c2s1_000002_00.jpg"],
    }
    lines = ["name:keypoints_y:keypoints_x"]
    for folder, files in names.items():
        for i, name in enumerate(files):
            picture(root / folder / name, 128, 64, i)
            lines.append(keypoint_line(name, len(lines)))
    lines = [line for line in lines if "0007_c2" not in line] + [keypoint_line("0099_c1s1_000000_00.jpg", 9)]
    (tmp_path / "market.csv").write_text("\n".join(lines))
    return root


def test_market1501_is_packed_with_identities_cameras_and_keypoints(market: Path, tmp_path: Path) -> None:
    source = read_market1501(market, "market1501", keypoints=(tmp_path / "market.csv",))
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 2, "test": 1, "query": 1}
    assert list(source.left_out) == [
        "3 lines of keypoints without a packed image, such as -1_c1s1_000401_03.jpg",
        "1 junk images (person -1); --distractors packs them, such as bounding_box_test/-1_c1s1_000401_03.jpg",
        "1 distractors (person 0000); --distractors packs them, such as bounding_box_test/0000_c1s1_000151_01.jpg",
        "1 images without keypoints, such as bounding_box_train/0007_c2s1_000001_01.jpg",
    ]
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (2, 3, 128, 64)
    assert batch["person"].tolist() == [2, 2]
    assert sorted(batch["camera"].tolist()) == [1, 3]
    expected = json.loads(keypoint_line("x", 1).split(": ")[1])
    pose = batch["keypoints"][batch["camera"].tolist().index(1)]
    assert pose[:, 0].tolist() == expected
    assert pose[:, 2].tolist() == [0.0] * 3 + [1.0] * 15


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, r"0002_c1s1_000451_03\.jpg: no keypoint in 128x64 pixels \(none was found\)"),
        (900, "all found ones lie outside"),
    ],
)
def test_an_image_without_a_keypoint_inside_is_an_error_or_counted(
    market: Path, tmp_path: Path, value: int, message: str
) -> None:
    csv = tmp_path / "market.csv"
    lines = [line for line in csv.read_text().splitlines() if not line.startswith("0002_c1")]
    csv.write_text("\n".join([*lines, f"0002_c1s1_000451_03.jpg: {json.dumps([value] * 18)}: {json.dumps([value] * 18)}"]))
    source = read_market1501(market, "market1501", keypoints=(csv,))
    with pytest.raises(DataError, match=message):
        packed(source, tmp_path / "out")
    reports: list[str] = []
    index = pack(source, FolderStore(tmp_path / "skipped", create=True), reports.append, max_skipped=1, shards=1)
    assert sum(shard.count for shard in index.splits["train"]) == 1
    assert any(line.startswith("skipped: ") for line in reports)


def test_a_keypoint_outside_of_the_image_is_missing(market: Path, tmp_path: Path) -> None:
    csv = tmp_path / "market.csv"
    lines = [line for line in csv.read_text().splitlines() if not line.startswith("0002_c1")]
    rows = [128, *range(20, 37)]
    csv.write_text("\n".join([*lines, f"0002_c1s1_000451_03.jpg: {json.dumps(rows)}: {json.dumps([5] * 18)}"]))
    batch = packed(read_market1501(market, "market1501", keypoints=(csv,)), tmp_path / "out")
    pose = batch["keypoints"][batch["camera"].tolist().index(1)]
    assert pose[0].tolist() == [-1, -1, 0]
    assert pose[1:, 2].tolist() == [1.0] * 17


def test_deepfashion_is_split_by_item_and_keypoints_follow_the_size(tmp_path: Path) -> None:
    root = tmp_path / "deepfashion"
    lines, listed = ["name:keypoints_y:keypoints_x"], ["12", "image_name item_id evaluation_status"]
    for item in range(12):
        name = f"img/WOMEN/Dresses/id_{item:08d}/01_1_front.jpg"
        picture(root / name, 128, 64, item)
        lines.append(keypoint_line(f"fashionWOMENDressesid{item:08d}011front.jpg", item))
        listed.append(f"{name}  id_{item:08d}  {('gallery', 'train', 'train', 'query', 'train', 'train')[item % 6]}")
    (tmp_path / "fashion.csv").write_text("\n".join(lines))
    (root / "list_eval_partition.txt").write_text("\n".join(listed))
    source = read_deepfashion(
        root, "deepfashion", keypoints=(tmp_path / "fashion.csv",), keypoint_size=(128, 64), size=(64, 64)
    )
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 8, "test": 4}
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (8, 3, 64, 64)
    item, colour = divmod(int(batch["person"][0]), 100)
    assert colour == 1
    expected = np.array(json.loads(keypoint_line("x", item).split(": ")[1]))
    assert np.array_equal(batch["keypoints"][0, 3:, 0], expected[3:] / 2)  # 128 rows became 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg:[1, 2]:[3, 4]", r"market\.csv: line 1: expected name:\[18 rows\]:\[18 columns\] \(.*at least 18 items"),
        ("a.jpg;[1, 2];[3, 4]", r"market\.csv: line 1: expected name"),
        (keypoint_line("other.jpg", 0), "no image of bounding_box_train has keypoints"),
    ],
)
def test_keypoints_that_do_not_fit_are_refused(market: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "market.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_market1501(market, "market1501", keypoints=(tmp_path / "market.csv",))


def test_a_set_without_keypoint_files_is_refused(market: Path) -> None:
    with pytest.raises(DataError, match=r"name the CSV files .* with --keypoints"):
        read_market1501(market, "market1501")


def test_images_of_another_size_than_the_keypoints_are_refused_or_scaled(market: Path, tmp_path: Path) -> None:
    csv = tmp_path / "market.csv"
    plain = packed(read_market1501(market, "market1501", keypoints=(csv,)), tmp_path / "plain")
    for path in market.rglob("*.jpg"):
        picture(path, 256, 128, 1)
    with pytest.raises(DataError, match=r"Market-1501's images have 128x64 pixels .*\(256x128\): .*--keypoint-size"):
        read_market1501(market, "market1501", keypoints=(csv,))
    scaled = packed(
        read_market1501(market, "market1501", keypoints=(csv,), keypoint_size=(128, 64), size=(256, 128)), tmp_path / "scaled"
    )
    seen = plain["keypoints"][:, :, 2] == 1
    assert np.array_equal(scaled["keypoints"][seen][:, :2], 2 * plain["keypoints"][seen][:, :2])


def test_doubled_suffixes_are_understood(market: Path, tmp_path: Path) -> None:
    for path in list(market.rglob("*.jpg")):
        path.rename(path.with_name(f"{path.name}.jpg"))
    source = read_market1501(market, "market1501", keypoints=(tmp_path / "market.csv",))
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 2, "test": 1, "query": 1}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["3", "image_name item_id evaluation_status", "img/id_00000001/1.jpg id_1 train"],
            "says that it has 3 images, and names 1",
        ),
        (["img/id_00000001/1.jpg train"], "line 1: expected IMAGE ITEM and train, query, gallery"),
        (["img/id_00000001/1.jpg id_1 elsewhere"], "line 1: expected IMAGE ITEM and train, query, gallery"),
    ],
)
def test_a_partition_of_another_kind_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    picture(tmp_path / "set/img/id_00000001/1.jpg", 256, 256)
    (tmp_path / "set/list_eval_partition.txt").write_text("\n".join(lines))
    (tmp_path / "k.csv").write_text(keypoint_line("1.jpg", 0))
    with pytest.raises(DataError, match=message):
        read_deepfashion(tmp_path / "set", "x", keypoints=(tmp_path / "k.csv",))


def test_a_partition_without_its_two_first_lines_loses_no_image(tmp_path: Path) -> None:
    names = [f"img/id_{i:08d}/1.jpg" for i in range(3)]
    for name in names:
        picture(tmp_path / "set" / name, 256, 256)
    (tmp_path / "set/list_eval_partition.txt").write_text("\n".join(f"{name} id gallery" for name in names))
    (tmp_path / "k.csv").write_text("\n".join(keypoint_line(name, 1) for name in names))
    source = read_deepfashion(tmp_path / "set", "x", keypoints=(tmp_path / "k.csv",))
    assert {split: len(items) for split, items in source.splits.items()} == {"test": 3}


def test_distractors_and_junk_are_a_split_of_their_own_if_wanted(market: Path, tmp_path: Path) -> None:
    source = read_market1501(market, "market1501", keypoints=(tmp_path / "market.csv",), distractors=True)
    assert {split: len(items) for split, items in source.splits.items()} == {
        "train": 2,
        "test": 1,
        "query": 1,
        "distractors": 2,
    }
    assert sorted(packed(source, tmp_path / "out", "distractors")["person"].tolist()) == [-1, 0]
    assert packed(source, tmp_path / "out", "test")["person"].tolist() == [3]


def test_a_clothing_item_in_another_colour_is_another_person_but_in_the_same_split(tmp_path: Path) -> None:
    names = [
        f"img/MEN/Denim/id_{item:08d}/{colour:02d}_{view}"
        for item in range(40)
        for colour in (1, 2)
        for view in ("1_front.jpg", "2_side.jpg")
    ]
    for name in names:
        picture(tmp_path / "set" / name, 256, 256)
    (tmp_path / "k.csv").write_text("\n".join(keypoint_line(name, 1) for name in names))
    source = read_deepfashion(tmp_path / "set", "x", keypoints=(tmp_path / "k.csv",))
    people = {split: packed(source, tmp_path / split, split)["person"].tolist() for split in ("train", "test")}
    assert sorted(people["train"] + people["test"]) == sorted(
        2 * [100 * item + colour for item in range(40) for colour in (1, 2)]
    )
    assert not {person // 100 for person in people["train"]} & {person // 100 for person in people["test"]}
    held_out = with_validation(source, 0.3)
    groups = {split: {item.group for item in items} for split, items in held_out.splits.items()}
    assert groups["validation"]
    assert not groups["validation"] & groups["train"]


def test_images_that_name_no_item_are_packed_but_paired_with_none(tmp_path: Path) -> None:
    names = ["img/id_00000001/01_1_front.jpg", "img/mine.jpg", "img/id_00000002/7.jpg"]
    for name in names:
        picture(tmp_path / "set" / name, 256, 256)
    (tmp_path / "set/list_eval_partition.txt").write_text("\n".join(f"{name} id train" for name in names))
    (tmp_path / "k.csv").write_text("\n".join(keypoint_line(name, 1) for name in names))
    source = read_deepfashion(tmp_path / "set", "x", keypoints=(tmp_path / "k.csv",))
    assert sorted(packed(source, tmp_path / "out")["person"].tolist()) == [-1, -1, 101]
    said = "2 images whose path names no item and colour (packed, but paired with no other), such as img/id_00000002/7.jpg"
    assert f"unpaired {said}" in source.understood
