"""Images of any folder or archive, with labels, attributes and splits."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.sources.raw_files import archived, packed, picture, pixels
from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.folder import read_folder


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    for i in range(12):
        picture(tmp_path / f"animals/train/{'cat' if i % 2 else 'dog'}/{i}.jpg", 16, 24, i)
    for i in range(3):
        picture(tmp_path / f"animals/val/cat/v{i}.png", 16, 24, 50 + i, "PNG")
    return tmp_path / "animals"


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
def test_lists_that_do_not_fit_are_refused(
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
def test_a_source_without_images_is_refused(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    make(tmp_path / "raw")
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path / "raw", "x")
