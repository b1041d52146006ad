"""Images of any folder or archive, with labels, attributes and splits."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.sources.raw_files import archived, packed, picture, pixels
from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.sources.source import Source


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
    with pytest.raises(
        DataError, match=r"(?s)of 2 sizes.*15 of 16x24 .*1 of 16x48 .*train/cat/wide\.jpg\n.*--size .*--any-size"
    ):
        read_folder(animals, "animals")
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
    with pytest.raises(DataError, match=r"train/cat/broken\.jpg: .*damaged"):
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


def flat(root: Path, names: Sequence[str], kind: str = "PNG") -> Path:
    for i, name in enumerate(names):
        picture(root / name, 8, 8, i, kind)
    return root


def splits_of(source: Source) -> dict[str, int]:
    return {split: len(items) for split, items in sorted(source.splits.items())}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test"), {"train": 2, "test": 2}),
        (("Training", "Testing"), {"train": 2, "test": 2}),
        (("train", "Val"), {"train": 2, "test": 2}),
        (("train", "validation", "test"), {"train": 2, "validation": 2, "test": 2}),
        (("train2017", "val2017"), {"train": 2, "test": 2}),
        (("TrainSet", "test_images"), {"train": 2, "test": 2}),
        (("photos/train", "photos/test"), {"train": 2, "test": 2}),
    ],
)
def test_folders_name_the_splits_as_people_write_them(
    tmp_path: Path, folders: tuple[str, ...], expected: dict[str, int]
) -> None:
    source = read_folder(flat(tmp_path / "set", [f"{folder}/{i}.png" for folder in folders for i in range(2)]), "x")
    assert splits_of(source) == expected


def test_a_class_that_is_called_train_is_no_split(tmp_path: Path) -> None:
    images = [f"{vehicle}/{i}.png" for vehicle in ("bus", "plane", "train") for i in range(4)]
    source = read_folder(flat(tmp_path / "set", images), "x", labels=True)
    assert source.classes == ("bus", "plane", "train")
    assert any("folder train is not taken for a split" in line for line in source.understood)


def test_images_outside_of_the_splits_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    images = ["train/1.png", "test/2.png", "logo.png", "unlabeled/3.png"]
    source = read_folder(flat(tmp_path / "set", images), "x")
    assert splits_of(source) == {"train": 1, "test": 1}
    (line,) = source.left_out
    assert line.startswith("2 images outside of the folders of splits (") and line.endswith("such as logo.png")


@pytest.mark.parametrize(
    ("level", "classes"),
    [(None, ("cat/left", "cat/right", "dog/left")), (1, ("cat", "dog")), (2, ("left", "right"))],
)
def test_a_class_is_all_folders_of_an_image_or_one_of_them(tmp_path: Path, level: int | None, classes: tuple[str, ...]) -> None:
    images = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in ("cat/left", "cat/right", "dog/left") for i in range(2)]
    source = read_folder(flat(tmp_path / "set", images), "x", labels=True, label_level=level)
    assert source.classes == classes
    batch = packed(source, tmp_path / "out")
    assert sorted(batch["label"].tolist()) == sorted(
        classes.index("/".join(c) if level is None else c[level - 1])
        for c in (("cat", "left"), ("cat", "right"), ("dog", "left"))
        for _ in range(2)
    )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["1.png", "2.png"], "1.png lies in no class's folder"),
        (["cat/1.png", "2.png"], "2.png lies in no class's folder"),
        (
            ["train/1.png", "test/2.png"],
            r"test/2.png lies in no class's folder \(t.*, t.*: splits, no classes\)",
        ),
        (["train/a/1.png", "test/a/2.png"], "all images are of one class, a"),
    ],
)
def test_labels_without_classes_are_refused(tmp_path: Path, images: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_folder(flat(tmp_path / "set", images), "x", labels=True)


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_an_archive_with_a_folder_on_top_gives_the_classes_of_the_folder(animals: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "parent").mkdir()
    animals.rename(tmp_path / "parent/animals")
    source = read_folder(archived(tmp_path / "parent", kind), "animals", labels=True)
    assert source.classes == ("cat", "dog")
    assert splits_of(source) == {"train": 12, "test": 3}


def test_what_is_left_out_is_counted_by_kind_and_what_is_changed_is_said(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", [f"{i}.png" for i in range(6)])
    for name in ("notes.txt", "more.txt", "video.mp4", ".hidden.png", "Thumbs.db"):
        (root / name).write_bytes(b"x")
    Image.new("RGBA", (8, 8), (255, 0, 0, 100)).save(root / "clear.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(root / "deep.png")
    Image.new("RGB", (8, 8)).save(root / "web.webp")
    source = read_folder(root, "x")
    assert source.left_out.counts == {
        "files with the suffix .txt": 2,
        "hidden files, or files of an operating system": 2,
        "files with the suffix .mp4": 1,
    }
    said = "\n".join(source.understood)
    assert "1 images with transparency, composed on rgb(255, 255, 255) (--background), such as clear.png" in said
    assert (
        "1 images of 16 bits, scaled to 8 (65,535 becomes 255: images of 10 or 12 bits must be scaled before), such as deep.png"
        in said
    )
    assert "1 WEBP files, stored as PNG, such as web.webp" in said
    assert "8 PNG, 1 WEBP; colour, 1 of them grey, shown in colour" in said
    assert "all 8x8" in said


def test_resizing_says_what_it_does_to_proportions(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", ["1.png", "2.png"])
    picture(root / "wide.png", 8, 16, 1, "PNG")
    said = "\n".join(read_folder(root, "x", size=(4, 4)).understood)
    assert "all to 4x4; 1 have other proportions and are stretched, such as wide.png (8x16)" in said


def test_a_name_that_two_folders_hold_must_be_written_with_its_folder(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", ["a/1.png", "b/1.png", "b/2.png"])
    (tmp_path / "a.csv").write_text("image,age\n1.png,3\n2.png,4\n")
    with pytest.raises(
        DataError, match=r"a\.csv: line 2: 1\.png means several images, a/1\.png and b/1\.png: write its folder"
    ):
        read_folder(root, "x", attributes=tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("image,age\na/1.png,3\nb/1.png,4\n2.png,5\n")
    assert splits_of(read_folder(root, "x", attributes=tmp_path / "a.csv", test_share=0)) == {"train": 3}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffimage;age;split\n1.png;3;train\n2.png;4;test\n",
        "image\tage\tsplit\r\n1.png\t3\tTraining\r\n2.png\t4\tval\r\n",
        'image, age, split\n"1", 3, train\n.\\2.PNG, 4, test\n',
        "sep=;\nimage;age;split;\n1.png;3;train;\n2.png;4;test;\n",
    ],
)
def test_tables_of_every_spreadsheet_are_read(tmp_path: Path, text: str) -> None:
    root = flat(tmp_path / "set", ["1.png", "2.PNG"])
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "a.csv").write_bytes(text.encode(encoding))
        source = read_folder(root, "x", attributes=tmp_path / "a.csv")
        assert (source.attributes, splits_of(source)) == (("age",), {"train": 1, "test": 1})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"image,age\n0.png,nan\n", "line 2, age: 'nan' is not a finite number"),
        ("a.csv", b"image,age\n0.png,1\n0.png,2\n", "lines 2 and 3 both name 0.png"),
        ("a.csv", b"image,age\n0.png,1\n0,2\n", "lines 2 and 3 both mean 0.png"),
        ("a.csv", b"image,age\n0.png,1,2\n", "line 2: has 3 columns, the header has 2"),
        ("a.csv", b"image,age,age\n0.png,1,2\n", "names the column 'age' twice"),
        ("a.csv", b"image,age,split\n0.png,1,../up\n", "line 2: '../up' is not the name of a split"),
        ("a.csv", b"image,age\n0.png,\xff\n", "line 2 is not text in UTF-8; save the file as UTF-8"),
        ("a.csv", b"image\0age\n", "is not a text file"),
        ("a.csv", b"", "is empty"),
        ("s.txt", b"", "is empty; expected NAME SPLIT"),
        ("s.txt", b"0.png tarin\n", "line 1: 'tarin' is not the name of a usual split: is train meant"),
        ("s.txt", b"0.png train test\n", "names 1 images that do not exist, such as 0.png train"),
        ("s.txt", b"0.7 train\n", "names 1 images that do not exist, such as 0.7"),
        ("a.csv", b"0.png,3\n1.png,4\n", "its first line names an image, 0.png: put a header above it"),
        ("a.csv", b"image,age\n", "has a header and no lines"),
        ("a.csv", b"image,,age\n0.png,1,2\n", "its column 2 has no name"),
        ("s.txt", b"0.png ../x\n", "line 1: '../x' is not the name of a split"),
        ("s.txt", b"0.png train\n0.png test\n", "lines 1 and 2 both name 0.png"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    root = flat(tmp_path / "set", ["0.png", "1.png"])
    (tmp_path / name).write_bytes(content)
    option = {"attributes" if name == "a.csv" else "split_list": tmp_path / name}
    with pytest.raises(DataError, match=message):
        read_folder(root, "x", **option)  # type: ignore[arg-type]


def test_a_list_of_splits_leaves_the_others_out(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", ["train/0.png", "train/1.png", "test/2.png"])
    (tmp_path / "s.txt").write_text("0.png,held\n1.png,train\n")
    source = read_folder(root, "x", split_list=tmp_path / "s.txt")
    assert splits_of(source) == {"held": 1, "train": 1}
    assert source.left_out.counts == {"images that the list of splits does not name": 1}


def test_a_name_in_another_encoding_becomes_a_key(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", ["1.png"])
    (root / "1.png").rename(os.fsdecode(os.fsencode(root) + b"/gr\xf6\xdfe.png"))
    source = read_folder(root, "x", test_share=0)
    assert [item.key for item in source.splits["train"]] == ["gr%f6%dfe_png"]
    assert len(packed(source, tmp_path / "out")["image"]) == 1


def test_names_in_a_list_may_hold_what_divides_lists(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", ["a,b.png", "a b.png", "c;d.png", "e.png"])
    (tmp_path / "s.txt").write_text('a,b.png test\na b.png train\n"c;d.png";held\n"e.png" train\n')
    source = read_folder(root, "x", split_list=tmp_path / "s.txt")
    keys = {split: sorted(item.key for item in items) for split, items in source.splits.items()}
    assert keys == {"test": ["a,b_png"], "train": ["a b_png", "e_png"], "held": ["c;d_png"]}


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", [f"{label}/{i}.png" for label in (10, 2, 1) for i in range(2)])
    assert read_folder(root, "x", labels=True).classes == ("1", "2", "10")
