"""MNIST-CD/CB: a pair shares one glyph, its colours are known, and no test digit is in the training split."""

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.trainers.systems.pairs import TEST, TRAIN, write_idx_digits
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.sources import mnist_cdcb
from unbraid.datasets.sources.idx import read_idx
from unbraid.datasets.sources.mnist_cdcb import draw_pair, pair_colours, read_mnist_cdcb
from unbraid.datasets.sources.source import Source
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scikit-learn's digits in MNIST's files; MNIST's checksums are not required of them."""
    monkeypatch.setattr(mnist_cdcb, "check_mnist", lambda folder: None)
    return write_idx_digits(tmp_path / "raw")


def decoded(source: Source, split: str, count: int) -> dict[str, np.ndarray]:
    """The first items of a split by field, images as (N, 3, H, W)."""
    rows = []
    for item in source.splits[split][:count]:
        members = item.load()
        row: dict[str, np.ndarray] = {"label": np.array(int(members["cls"]))}
        for d in ("x", "y"):
            row[d] = np.asarray(Image.open(io.BytesIO(members[f"{d}.png"]))).transpose(2, 0, 1)
            row[f"{d}_colour"] = np.load(io.BytesIO(members[f"{d}_colour.npy"]))
        rows.append(row)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("side", [32, 64])
def test_a_pair_is_one_glyph_in_two_known_colours(raw: Path, side: int) -> None:
    source = read_mnist_cdcb(raw, "set", size=(side, side))
    assert {split: len(items) for split, items in source.splits.items()} == {"train": TRAIN, "test": TEST}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        found = decoded(source, split, 50)
        assert np.array_equal(found["label"], read_idx(raw / f"{prefix}-labels-idx1-ubyte")[:50])
        ink_x, ink_y = found["x"].max(1) / 255.0, 1 - found["y"].max(1) / 255.0
        assert np.abs(ink_x - ink_y).max() < 0.01
        for ink, d in ((ink_x, "x"), (1 - ink_y, "y")):
            drawn = 255 * ink[:, None] * found[f"{d}_colour"][:, :, None, None]
            assert np.abs(drawn - found[d]).max() < 2
        if side == 32:  # not resized
            glyphs = read_idx(raw / f"{prefix}-images-idx3-ubyte")[:50]
            assert np.abs(255 * ink_x[:, 2:30, 2:30] - glyphs).max() < 1e-3


def test_a_packed_set_holds_what_was_drawn(pairs_url: str, raw: Path) -> None:
    drawn = decoded(read_mnist_cdcb(raw, "digits"), "test", 20)
    batch = next(iter(read_split(pairs_url, "test", 20)))
    assert all(np.array_equal(batch[name].numpy(), drawn[name]) for name in ("x", "y", "label", "x_colour", "y_colour"))
    assert read_index(open_store(pairs_url)).recipe == {"generator": "mnist-cdcb", "version": 1, "seed": 0}


def test_colours_are_bright_independent_and_the_seeds() -> None:
    colours = np.array([np.concatenate(pair_colours(0, "train", i)) for i in range(1000)])
    assert np.allclose(colours[:, :3].max(1), 1)
    assert np.allclose(colours[:, 3:].min(1), 0)
    assert np.abs(colours.mean(0) - 0.5).max() < 0.05
    assert np.abs(np.corrcoef(colours.T)[:3, 3:]).max() < 0.12
    assert np.array_equal(pair_colours(0, "train", 3), pair_colours(0, "train", 3))
    for other in ((1, "train", 3), (0, "test", 3), (0, "train", 4)):
        assert not np.allclose(pair_colours(0, "train", 3), pair_colours(*other))


def test_another_seed_is_packed_again(raw: Path) -> None:
    marks = [{item.fingerprint for item in read_mnist_cdcb(raw, "set", seed=seed).splits["test"]} for seed in (0, 1)]
    assert len(marks[0]) == TEST
    assert not marks[0] & marks[1]


def test_no_test_digit_is_trained_on(raw: Path) -> None:
    source = read_mnist_cdcb(raw, "set")
    seen = {split: {image.max(0).tobytes() for image in decoded(source, split, TRAIN)["x"]} for split in source.splits}
    assert len(seen["train"]) == TRAIN
    assert not seen["train"] & seen["test"]


def test_ink_covers_its_share_at_any_size() -> None:
    glyph = np.zeros((28, 28), np.uint8)
    glyph[8:20, 10:14] = 255
    red = np.array([1, 0, 0], np.float32)
    shares = [draw_pair(glyph, red, red, side)[0][..., 0].mean() / 255 for side in (32, 64, 256)]
    assert np.allclose(shares, 12 * 4 / 32**2, rtol=0.03)


@pytest.mark.parametrize("size", [(32, 64), (8, 8)])
def test_sizes_that_show_no_digit_are_refused(raw: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=f"--size {size[0]}x{size[1]}: a digit needs a square of at least 16x16"):
        read_mnist_cdcb(raw, "set", size=size)


def test_foreign_digits_are_refused_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    raw = write_idx_digits(tmp_path / "raw")
    result = CliRunner().invoke(main, ["data", "pack", "mnist-cdcb", str(raw), str(tmp_path / "set")])
    assert result.exit_code == 1
    assert "a foreign file, or a damaged one" in result.output
    assert not (tmp_path / "set" / "index.json").exists()
