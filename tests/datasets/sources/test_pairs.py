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


def test_pairs_of_several_sizes_are_resized_or_refused(tmp_path: Path) -> None:
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
