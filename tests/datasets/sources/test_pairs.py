"""Pairs of images, side by side or in two folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.sources.raw_files import packed, picture, pixels
from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.pairs import read_pairs


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
    assert source.left_out.counts == {"images without a partner of the same name in the other folder": 1}
    assert lonely.name in next(iter(source.left_out))
    batch = packed(source, tmp_path / "out")
    for x, y in zip(batch["x"], batch["y"], strict=True):
        (i,) = [
            i for i in range(4) if np.array_equal(x, pixels(tmp_path / "set" / layout.format(split="train", side="A", i=i)))
        ]
        assert np.array_equal(y, pixels(tmp_path / "set" / layout.format(split="train", side="B", i=i)))


def test_a_pair_that_cannot_be_halved_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "odd/train/1.png", 8, 17, 1, "PNG")
    with pytest.raises(DataError, match=r"train/1\.png is 8x17 .*, which are not two halves of one width"):
        read_pairs(tmp_path / "odd", "odd", side_by_side=True)


def test_folders_whose_names_do_not_match_are_refused(tmp_path: Path) -> None:
    for side, name in (("A", "cat"), ("B", "dog")):
        picture(tmp_path / f"set/train{side}/{name}.png", 16, 16, 1, "PNG")
    with pytest.raises(
        DataError, match=r"no pairs: folders A and B hold no two images of one name; train[AB]/(cat|dog)\.png is one"
    ):
        read_pairs(tmp_path / "set", "set")


def test_pairs_of_several_sizes_are_resized_or_refused(tmp_path: Path) -> None:
    for i, side in enumerate((16, 24)):
        picture(tmp_path / f"set/train/{i}.png", side, 2 * side, i, "PNG")
    batch = packed(read_pairs(tmp_path / "set", "set", size=(32, 32)), tmp_path / "resized")
    assert batch["x"].shape == batch["y"].shape == (2, 3, 32, 32)
    with pytest.raises(DataError, match=r"(?s)of 2 sizes.*1 of 16x32 .*train/0\.png.*1 of 24x48 .*train/1\.png.*--size"):
        read_pairs(tmp_path / "set", "set")


def test_a_grey_image_and_a_coloured_one_are_a_pair(tmp_path: Path) -> None:
    picture(tmp_path / "set/trainB/1.png", 16, 16, 1, "PNG")
    (tmp_path / "set/trainA").mkdir()
    Image.open(tmp_path / "set/trainB/1.png").convert("L").save(tmp_path / "set/trainA/1.png")
    batch = packed(read_pairs(tmp_path / "set", "set"), tmp_path / "out")
    assert batch["x"].shape == batch["y"].shape == (1, 3, 16, 16)
    assert np.array_equal(batch["x"][0, 0], batch["x"][0, 2])  # grey, shown in three channels
    assert not np.array_equal(batch["y"][0, 0], batch["y"][0, 2])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("a", "b"),
        ("photo", "sketch"),
        ("input", "target"),
        ("target", "input"),
        ("train_A", "train_B"),
        ("train/a", "train/b"),
        ("left/train", "right/train"),
    ],
)
def test_two_folders_of_equal_names_are_pairs_whatever_they_are_called(tmp_path: Path, x: str, y: str) -> None:
    for i in range(5):
        for k, side in enumerate((x, y)):
            picture(tmp_path / f"set/{side}/{i}.{'png' if k else 'jpg'}", 16, 16, 10 * i + k, "PNG" if k else "JPEG")
    source = read_pairs(tmp_path / "set", "set", test_share=0)
    batch = packed(source, tmp_path / "out")
    assert batch["x"].shape == batch["y"].shape == (5, 3, 16, 16)
    x, y = (y, x) if x == "target" else (x, y)
    for of_x, of_y in zip(batch["x"], batch["y"], strict=True):
        (i,) = [
            i
            for i in range(5)
            for s in ("jpg", "png")
            if (p := tmp_path / f"set/{x}/{i}.{s}").exists() and np.array_equal(of_x, pixels(p))
        ]
        partner = next(p for s in ("jpg", "png") if (p := tmp_path / f"set/{y}/{i}.{s}").exists())
        assert np.array_equal(of_y, pixels(partner))
    swapped = packed(read_pairs(tmp_path / "set", "set", test_share=0, swap=True), tmp_path / "swapped")
    assert np.array_equal(swapped["x"], batch["y"])


def test_ordinary_images_are_no_pairs(tmp_path: Path) -> None:
    for folder in ("cats", "dogs"):
        for i in range(3):
            picture(tmp_path / f"set/{folder}/{folder}{i}.png", 16, 16, i, "PNG")
    with pytest.raises(DataError, match=r"no pairs: no two folders .* \(cats/cats0\.png is 16x16 .*--side-by-side"):
        read_pairs(tmp_path / "set", "set")


def test_two_files_of_one_name_on_one_side_are_refused(tmp_path: Path) -> None:
    for name in ("A/1.png", "B/1.png", "A/1.bmp"):
        picture(tmp_path / "set" / name, 16, 16, 1, "PNG" if name.endswith("png") else "BMP")
    with pytest.raises(DataError, match=r"A/1\.bmp and A/1\.png both are image X of the pair 1"):
        read_pairs(tmp_path / "set", "set")


def test_a_pair_on_its_side_is_halved_after_it_is_turned(tmp_path: Path) -> None:
    image = Image.open(picture(tmp_path / "plain.png", 16, 32, 3, "PNG"))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "set").mkdir()
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "set/1.png", exif=exif)
    batch = packed(read_pairs(tmp_path / "set", "set", test_share=0), tmp_path / "out")
    whole = np.concatenate([batch["x"][0], batch["y"][0]], axis=2)
    assert np.array_equal(whole, pixels(tmp_path / "plain.png"))


@pytest.mark.parametrize("stray", ["C/0.png", "test/photo/0.png"])
def test_a_folder_that_is_no_domain_is_not_passed_over(tmp_path: Path, stray: str) -> None:
    for name in ("train/A/0.png", "train/B/0.png", stray):
        picture(tmp_path / "set" / name, 16, 16, 1, "PNG")
    with pytest.raises(DataError, match=f"{stray} lies in no folder of a domain, while others lie in A and B"):
        read_pairs(tmp_path / "set", "set")


def test_a_single_image_beside_the_domains_is_counted(tmp_path: Path) -> None:
    for name in ("A/0.png", "B/0.png", "logo.png"):
        picture(tmp_path / "set" / name, 16, 16, 1, "PNG")
    assert read_pairs(tmp_path / "set", "set").left_out.counts == {"images in no folder of a domain": 1}
