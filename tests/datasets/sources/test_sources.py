"""Each packer on files laid out as the real data set's."""

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.celeba import read_celeba
from unbraid.datasets.sources.deepfashion import read_deepfashion
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.sources.market1501 import read_market1501
from unbraid.datasets.sources.packing import pack
from unbraid.datasets.sources.pairs import read_pairs
from unbraid.datasets.sources.source import Source
from unbraid.datasets.sources.svhn import read_svhn
from unbraid.datasets.store import FolderStore
from unbraid.datasets.stream.stream import read_split


def picture(path: Path, height: int, width: int, seed: int = 0, kind: str = "JPEG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4 or 1, width // 4 or 1, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path, kind, quality=95)
    return path


def packed(source: Source, folder: Path, split: str = "train") -> dict[str, np.ndarray]:
    """All of one split, by field."""
    store = FolderStore(folder, create=True)
    pack(source, store, lambda text: None)
    batches = list(read_split(str(folder), split, 1000))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


# --- any folder -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    for i in range(12):
        picture(tmp_path / f"animals/train/{'cat' if i % 2 else 'dog'}/{i}.jpg", 16, 24, i)
    for i in range(3):
        picture(tmp_path / f"animals/val/cat/v{i}.png", 16, 24, 50 + i, "PNG")
    return tmp_path / "animals"


def archived(folder: Path, kind: str) -> Path:
    if kind == "folder":
        return folder
    archive = folder.with_suffix(kind)
    if kind == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for file in sorted(folder.rglob("*.*")):
                zipped.write(file, file.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if kind.endswith("gz") else "w") as tar:
            tar.add(folder, ".")
    return archive


@pytest.mark.parametrize("kind", ["folder", ".zip", ".tar", ".tar.gz"])
def test_a_folder_or_archive_of_images_is_packed_with_its_labels(animals: Path, tmp_path: Path, kind: str) -> None:
    source = read_folder(archived(animals, kind), "animals", labels=True)
    assert source.classes == ("cat", "dog")
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (12, 3, 16, 24)
    assert sorted(batch["label"].tolist()) == [0] * 6 + [1] * 6
    for i in range(12):
        found = [
            k
            for k in range(12)
            if np.array_equal(batch["image"][k], pixels(animals / f"train/{'cat' if i % 2 else 'dog'}/{i}.jpg"))
        ]
        assert [batch["label"][k] for k in found] == [0 if i % 2 else 1]
    assert len(source.splits["test"]) == 3


def test_attributes_come_from_a_csv(animals: Path, tmp_path: Path) -> None:
    names = sorted(p.name for p in animals.rglob("*.*"))
    lines = ["image,age,split,weight", *(f"{n},{i},{'train' if i % 3 else 'held'},{i / 2}" for i, n in enumerate(names))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    source = read_folder(animals, "animals", attributes=tmp_path / "a.csv")
    assert source.attributes == ("age", "weight")
    assert set(source.splits) == {"train", "held"}
    batch = packed(source, tmp_path / "out")
    assert np.array_equal(batch["attributes"][:, 1], batch["attributes"][:, 0] / 2)


def test_images_of_several_sizes_need_a_size(animals: Path, tmp_path: Path) -> None:
    picture(animals / "train/cat/wide.jpg", 16, 48)
    with pytest.raises(DataError, match="of several sizes and make no batch: pack with --size"):
        packed(read_folder(animals, "animals"), tmp_path / "mixed")
    assert packed(read_folder(animals, "animals", size=(8, 8)), tmp_path / "out")["image"].shape == (13, 3, 8, 8)


def test_a_split_by_hash_does_not_change_when_images_are_added(tmp_path: Path) -> None:
    for i in range(60):
        picture(tmp_path / f"flat/{i}.png", 8, 8, i, "PNG")
    before = read_folder(tmp_path / "flat", "flat", test_share=0.3)
    picture(tmp_path / "flat/new.png", 8, 8, 99, "PNG")
    after = read_folder(tmp_path / "flat", "flat", test_share=0.3)
    for split in ("train", "test"):
        assert {item.key for item in before.splits[split]} <= {item.key for item in after.splits[split]}
    assert 8 <= len(before.splits["test"]) <= 30


@pytest.mark.parametrize(
    ("name", "content", "option", "message"),
    [
        (
            "a.csv",
            "image,age\nnowhere.jpg,1\n",
            "attributes",
            r"a\.csv: names 1 images that do not exist, such as nowhere\.jpg",
        ),
        ("a.csv", "image,age\n0.jpg,old\n", "attributes", r"a\.csv: line 2, age: 'old' is not a number"),
        ("a.csv", "image\n0.jpg\n", "attributes", "at least one attribute"),
        ("s.txt", "nowhere.jpg train\n", "split_list", r"s\.txt: names 1 images that do not exist"),
        ("s.txt", "0.jpg\n", "split_list", r"s\.txt: line 1: expected NAME SPLIT"),
    ],
)
def test_lists_that_do_not_fit_are_told(
    animals: Path, tmp_path: Path, name: str, content: str, option: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_folder(animals, "animals", **{option: tmp_path / name})  # type: ignore[arg-type]


def test_an_undecodable_image_is_named(animals: Path, tmp_path: Path) -> None:
    (animals / "train/cat/broken.jpg").write_bytes((animals / "train/cat/1.jpg").read_bytes()[:200])
    with pytest.raises(DataError, match=r"train/cat/broken\.jpg: not a whole PNG or JPEG"):
        packed(read_folder(animals, "animals"), tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such folder or archive"),
        (lambda p: p.mkdir(), "no images"),
        (lambda p: p.write_bytes(b"PK broken"), "neither a folder nor a zip nor a tar"),
    ],
)
def test_a_source_that_holds_nothing_is_told(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    make(tmp_path / "raw")
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path / "raw", "x")


# --- SVHN, CelebA ---------------------------------------------------------------------------------------------------------


def test_svhn_is_read_from_its_mat_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    labels = np.arange(1, 21, dtype=np.uint8)[:, None] % 10 + 1
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels})
    batch = packed(read_svhn(tmp_path, "svhn"), tmp_path / "out")
    assert batch["image"].shape == (20, 3, 32, 32)
    for image, label in zip(batch["image"], batch["label"], strict=True):
        (i,) = [k for k in range(20) if np.array_equal(images[..., k].transpose(2, 0, 1), image)]
        assert label == labels[i, 0] % 10
    (tmp_path / "test_32x32.mat").write_bytes(b"no mat file")
    with pytest.raises(DataError, match=r"test_32x32\.mat: not a file of SVHN"):
        read_svhn(tmp_path, "svhn")


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    root = tmp_path / "celeba"
    names = [f"{i:06d}.jpg" for i in range(1, 9)]
    for i, name in enumerate(names):
        picture(root / "img_align_celeba" / name, 218, 178, i)
    rows = [f"{name} {' '.join('1' if (i >> k) & 1 else '-1' for k in range(3))}" for i, name in enumerate(names)]
    (root / "list_attr_celeba.txt").write_text("\n".join(["8", "Bangs Male Young", *rows]))
    (root / "list_eval_partition.txt").write_text("\n".join(f"{n} {i % 3}" for i, n in enumerate(names)))
    return root


@pytest.mark.parametrize("kind", ["folder", ".zip"])
def test_celeba_is_cut_to_the_face_with_its_attributes(celeba: Path, tmp_path: Path, kind: str) -> None:
    if kind == ".zip":
        images = celeba / "img_align_celeba"
        archived(images, kind)
        images.rename(tmp_path / "gone")
    source = read_celeba(celeba, "celeba")
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 3, "valid": 3, "test": 2}
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (3, 3, 64, 64)
    assert sorted(map(tuple, batch["attributes"].tolist())) == [(0, 0, 0), (0, 1, 1), (1, 1, 0)]


def test_a_celeba_list_of_another_kind_is_refused(celeba: Path) -> None:
    (celeba / "list_attr_celeba.txt").write_text("8\nBangs Male Young\n000001.jpg 1 -1\n")
    with pytest.raises(DataError, match=r"the line of 000001\.jpg does not have 3 values"):
        read_celeba(celeba, "celeba")


# --- pairs ----------------------------------------------------------------------------------------------------------------


def test_images_side_by_side_are_two_domains(tmp_path: Path) -> None:
    for i in range(5):
        picture(tmp_path / f"facades/train/{i}.png", 32, 64, i, "PNG")
    picture(tmp_path / "facades/val/9.png", 32, 64, 9, "PNG")
    source = read_pairs(tmp_path / "facades", "facades")
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 5, "test": 1}
    batch = packed(source, tmp_path / "out", "test")
    whole = pixels(tmp_path / "facades/val/9.png")
    assert np.array_equal(np.concatenate([batch["x"][0], batch["y"][0]], axis=2), whole)


@pytest.mark.parametrize("layout", ["{split}{side}/{i}.png", "{split}/{side}/{i}.png", "{side}/{split}/{i}.png"])
def test_images_of_equal_names_in_two_folders_are_pairs(tmp_path: Path, layout: str) -> None:
    for split in ("train", "test"):
        for i in range(4):
            for k, side in enumerate("AB"):
                picture(tmp_path / "set" / layout.format(split=split, side=side, i=i), 16, 16, 10 * i + k, "PNG")
    lonely = picture(tmp_path / "set" / layout.format(split="train", side="A", i="lonely"), 16, 16, 99, "PNG")
    source = read_pairs(tmp_path / "set", "set")
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 4, "test": 4}
    assert lonely.name in source.left_out[0] and "has no partner" in source.left_out[0]
    batch = packed(source, tmp_path / "out")
    for x, y in zip(batch["x"], batch["y"], strict=True):
        (i,) = [
            i for i in range(4) if np.array_equal(x, pixels(tmp_path / "set" / layout.format(split="train", side="A", i=i)))
        ]
        assert np.array_equal(y, pixels(tmp_path / "set" / layout.format(split="train", side="B", i=i)))


def test_a_pair_that_cannot_be_halved_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "odd/train/1.png", 8, 17, 1, "PNG")
    with pytest.raises(DataError, match=r"train/1\.png: is 17 pixels wide"):
        packed(read_pairs(tmp_path / "odd", "odd"), tmp_path / "out")


def test_folders_whose_names_do_not_match_are_refused(tmp_path: Path) -> None:
    for side, name in (("A", "cat"), ("B", "dog")):
        picture(tmp_path / f"set/train{side}/{name}.png", 16, 16, 1, "PNG")
    with pytest.raises(DataError, match=r"set: no pairs: train[AB]/(cat|dog)\.png has no partner of the same name"):
        read_pairs(tmp_path / "set", "set")


def test_pairs_of_several_sizes_are_resized_or_told(tmp_path: Path) -> None:
    for i, side in enumerate((16, 24)):
        picture(tmp_path / f"set/train/{i}.png", side, 2 * side, i, "PNG")
    batch = packed(read_pairs(tmp_path / "set", "set", size=(32, 32)), tmp_path / "resized")
    assert batch["x"].shape == batch["y"].shape == (2, 3, 32, 32)
    with pytest.raises(DataError, match=r"images of field 'x' are of several sizes and make no batch: pack with --size"):
        packed(read_pairs(tmp_path / "set", "set"), tmp_path / "kept")


def test_a_grey_image_and_a_coloured_one_are_a_pair(tmp_path: Path) -> None:
    picture(tmp_path / "set/trainB/1.png", 16, 16, 1, "PNG")
    (tmp_path / "set/trainA").mkdir()
    Image.open(tmp_path / "set/trainB/1.png").convert("L").save(tmp_path / "set/trainA/1.png")
    batch = packed(read_pairs(tmp_path / "set", "set"), tmp_path / "out")
    assert batch["x"].shape == batch["y"].shape == (1, 3, 16, 16)
    assert np.array_equal(batch["x"][0, 0], batch["x"][0, 2])  # grey, shown in three channels
    assert not np.array_equal(batch["y"][0, 0], batch["y"][0, 2])


# --- people ---------------------------------------------------------------------------------------------------------------


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


def test_market1501_is_packed_with_persons_cameras_and_keypoints(market: Path, tmp_path: Path) -> None:
    source = read_market1501(market, "market1501", keypoints=(tmp_path / "market.csv",))
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 2, "test": 2, "query": 1}
    told = "\n".join(source.left_out)
    assert "-1_c1s1_000401_03.jpg is junk" in told
    assert "0007_c2s1_000001_01.jpg has no keypoints" in told
    assert "keypoints of 0099_c1s1_000000_00.jpg, which does not exist" in told
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
        (-1, r"0002_c1s1_000451_03\.jpg: no keypoint in its 128x64 pixels \(none was found\)"),
        (900, "all found ones lie outside"),
    ],
)
def test_people_without_a_keypoint_in_the_image_are_counted_or_told(
    market: Path, tmp_path: Path, value: int, message: str
) -> None:
    csv = tmp_path / "market.csv"
    lines = [line for line in csv.read_text().splitlines() if not line.startswith("0002_c1")]
    csv.write_text("\n".join([*lines, f"0002_c1s1_000451_03.jpg: {json.dumps([value] * 18)}: {json.dumps([value] * 18)}"]))
    source = read_market1501(market, "market1501", keypoints=(csv,))
    with pytest.raises(DataError, match=message):
        packed(source, tmp_path / "out")
    told: list[str] = []
    index = pack(source, FolderStore(tmp_path / "skipped", create=True), told.append, max_skipped=1, shards=1)
    assert sum(shard.count for shard in index.splits["train"]) == 1
    assert any(line.startswith("skipped: ") for line in told)


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
    lines, listed = ["name:keypoints_y:keypoints_x"], ["2", "image_name item_id evaluation_status"]
    for item in range(12):
        name = f"img/WOMEN/Dresses/id_{item:08d}/01_1_front.jpg"
        picture(root / name, 128, 64, item)
        lines.append(keypoint_line(f"fashionWOMENDressesid{item:08d}011front.jpg", item))
        listed.append(f"{name}  id_{item:08d}  {'train' if item % 3 else 'gallery'}")
    (tmp_path / "fashion.csv").write_text("\n".join(lines))
    (root / "list_eval_partition.txt").write_text("\n".join(listed))
    source = read_deepfashion(root, "deepfashion", keypoints=(tmp_path / "fashion.csv",), size=(64, 64))
    assert {split: len(items) for split, items in source.splits.items()} == {"train": 8, "gallery": 4}
    batch = packed(source, tmp_path / "out")
    assert batch["image"].shape == (8, 3, 64, 64)
    item = int(batch["person"][0])
    expected = np.array(json.loads(keypoint_line("x", item).split(": ")[1]))
    assert np.array_equal(batch["keypoints"][0, 3:, 0], expected[3:] / 2)  # 128 rows became 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg:[1, 2]:[3, 4]", r"market\.csv: line 1: expected name:\[18 rows\]:\[18 columns\] \(2 values\)"),
        ("a.jpg;[1, 2];[3, 4]", r"market\.csv: line 1: expected name"),
        (keypoint_line("other.jpg", 0), "no image of bounding_box_train has keypoints"),
    ],
)
def test_keypoints_that_do_not_fit_are_told(market: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "market.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_market1501(market, "market1501", keypoints=(tmp_path / "market.csv",))


def test_people_without_keypoints_are_refused(market: Path) -> None:
    with pytest.raises(DataError, match=r"name the CSV files .* with --keypoints"):
        read_market1501(market, "market1501")
