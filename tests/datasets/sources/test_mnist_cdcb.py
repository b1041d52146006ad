"""MNIST-CD/CB: what a pair shares is what its kind says, its colours are known, and no glyph is in two splits."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.trainers.systems.pairs import TEST, TRAIN, write_idx_digits
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.validation import with_validation
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.sources import mnist_cdcb
from unbraid.datasets.sources.idx import read_idx
from unbraid.datasets.sources.mnist_cdcb import class_partners, list_pairs, read_mnist_cdcb
from unbraid.datasets.sources.source import Source
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split
from unbraid.datasets.synthetic.digit_pairs import PairDrawing, draw_ink, draw_pair, pair_drawing

SIZE = (32, 32)
Arrays = dict[str, np.ndarray]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scikit-learn's digits in MNIST's files; MNIST's checksums are not required of them."""
    monkeypatch.setattr(mnist_cdcb, "check_mnist", lambda folder: None)
    return write_idx_digits(tmp_path / "raw")


def decoded(source: Source, split: str, count: int) -> Arrays:
    """The first items of a split by field, images as (N, 3, H, W)."""
    rows = []
    for item in source.splits[split][:count]:
        members = item.load()
        row: Arrays = {"label": np.array(int(members["cls"]))}
        for d in ("x", "y"):
            row[d] = np.asarray(Image.open(io.BytesIO(members[f"{d}.png"]))).transpose(2, 0, 1)
            row[f"{d}_colour"] = np.load(io.BytesIO(members[f"{d}_colour.npy"]))
        rows.append(row)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def ink(found: Arrays, domain: str) -> np.ndarray:
    """(N, H, W) of ink, from the known colours: of x = ink · colour and y = ink + (1 − ink) · colour."""
    colour = found[f"{domain}_colour"][:, :, None, None].astype(np.float64)
    pixels = found[domain] / 255
    rows = np.arange(len(pixels))
    if domain == "x":
        channel = colour[:, :, 0, 0].argmax(1)
        return np.asarray(pixels[rows, channel] / colour[rows, channel])
    channel = colour[:, :, 0, 0].argmin(1)
    return np.asarray((pixels[rows, channel] - colour[rows, channel]) / (1 - colour[rows, channel]))


@pytest.mark.parametrize("side", [32, 64])
def test_a_pair_is_one_glyph_in_a_colour_and_in_white_on_a_colour(raw: Path, side: int) -> None:
    source = read_mnist_cdcb(raw, "set", size=(side, side))
    assert {split: len(items) for split, items in source.splits.items()} == {"train": TRAIN, "test": TEST}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        found = decoded(source, split, 50)
        assert np.array_equal(found["label"], read_idx(raw / f"{prefix}-labels-idx1-ubyte")[:50])
        bright = (found["x_colour"].max(1) > 0.3) & (found["y_colour"].min(1) < 0.7)  # else 8 bits hold few shades
        ink_x, ink_y = ink(found, "x"), ink(found, "y")
        assert bright.sum() > 30
        assert np.abs(ink_x - ink_y)[bright].max() < 0.02
        for name, share, background in (("x", ink_x, 0.0), ("y", 1 - ink_y, 1.0)):
            colour = found[f"{name}_colour"][:, :, None, None]
            drawn = 255 * (share[:, None] * colour + (1 - share[:, None]) * background)
            assert np.abs(drawn - found[name])[bright].max() < 3
        if side == 32:  # not resized
            glyphs = read_idx(raw / f"{prefix}-images-idx3-ubyte")[:50]
            assert np.abs(255 * ink_x[:, 2:30, 2:30] - glyphs)[bright].max() < 3


def test_a_packed_set_holds_what_was_drawn(pairs_url: str, raw: Path) -> None:
    drawn = decoded(read_mnist_cdcb(raw, "digits"), "test", 20)
    batch = next(iter(read_split(pairs_url, "test", 20)))
    assert all(np.array_equal(batch[name].numpy(), drawn[name]) for name in ("x", "y", "label", "x_colour", "y_colour"))
    expected = {"generator": "mnist-cdcb", "version": 2, "seed": 0, "sides": "same"}
    assert read_index(open_store(pairs_url)).recipe == expected


def test_colours_are_uniform_in_rgb_independent_and_the_seeds() -> None:
    def colours_of(seed: int, split: str, number: int) -> np.ndarray:
        drawing = pair_drawing(seed, split, number, moved=False)
        return np.concatenate([drawing.digit, drawing.ground])

    colours = np.array([colours_of(0, "train", i) for i in range(2000)])
    assert np.abs(np.quantile(colours, [0.1, 0.5, 0.9], axis=0) - np.array([[0.1], [0.5], [0.9]])).max() < 0.04
    assert np.abs(np.corrcoef(colours.T) - np.eye(6)).max() < 0.09
    assert np.array_equal(colours_of(0, "train", 3), colours_of(0, "train", 3))
    for other in ((1, "train", 3), (0, "test", 3), (0, "train", 4)):
        assert not np.allclose(colours_of(0, "train", 3), colours_of(*other))


def test_sides_that_are_moved_share_the_glyph_but_not_its_pixels(raw: Path) -> None:
    same, moved = (decoded(list_pairs(raw, "set", SIZE, 0, sides), "train", 60) for sides in ("same", "affine"))
    bright = (moved["x_colour"].max(1) > 0.3) & (moved["y_colour"].min(1) < 0.7)
    assert np.abs(ink(same, "x") - ink(same, "y"))[bright].max() < 0.02
    differences = np.abs(ink(moved, "x") - ink(moved, "y"))[bright].mean((1, 2))
    assert differences.min() > 0.02
    mass = ink(moved, "x").mean((1, 2)) / ink(same, "x").mean((1, 2))
    assert mass[bright].min() > 0.5, "nothing is pushed out of the image"
    assert mass[bright].max() < 1.4
    assert np.array_equal(same["label"], moved["label"])


def test_a_map_turns_about_the_middle_and_shifts_by_shares_of_the_side() -> None:
    glyph = np.zeros((28, 28), np.uint8)
    glyph[4:10, 12:16] = 255  # above the middle
    quarter = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    for side in (32, 64):
        still, turned = draw_ink(glyph, side)[:, :, 0], draw_ink(glyph, side, quarter)[:, :, 0]
        assert min(np.abs(turned - np.rot90(still, k)).max() for k in (1, 3)) < 1e-6
        shifted = draw_ink(glyph, side, np.array([[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]))[:, :, 0]
        assert np.abs(shifted - np.roll(still, -side // 8, 1)).max() < 1e-6


def test_sides_of_a_class_are_two_glyphs_of_it(raw: Path) -> None:
    source = list_pairs(raw, "set", SIZE, 0, "class")
    labels = read_idx(raw / "train-labels-idx1-ubyte").tolist()
    partners = class_partners(labels)
    assert all(labels[row] == labels[partner] and row != partner for row, (partner, _) in enumerate(partners))
    assert sorted(partner for partner, _ in partners) == list(range(TRAIN)), "each glyph is drawn once on each side"
    assert max(Counter(circle for _, circle in partners).values()) <= 11
    found, glyphs = decoded(source, "train", 40), read_idx(raw / "train-images-idx3-ubyte")
    for domain, shown in (("x", range(40)), ("y", [partner for partner, _ in partners[:40]])):
        bright = found["x_colour"].max(1) > 0.3 if domain == "x" else found["y_colour"].min(1) < 0.7
        assert np.abs(255 * ink(found, domain)[:, 2:30, 2:30] - glyphs[list(shown)])[bright].max() < 3


@pytest.mark.parametrize("sides", ["same", "affine", "class"])
def test_no_glyph_is_in_two_splits(raw: Path, sides: mnist_cdcb.Sides) -> None:
    source = with_validation(list_pairs(raw, "set", SIZE, 0, sides), 0.2)
    assert 30 < len(source.splits["validation"]) < 140
    train = read_idx(raw / "train-labels-idx1-ubyte").tolist()
    partners = [row for row, _ in class_partners(train)] if sides == "class" else list(range(TRAIN))

    def glyphs(split: str) -> set[tuple[str, int]]:
        rows = [(item.key.split("-")[0], int(item.key.split("-")[1])) for item in source.splits[split]]
        return {*rows, *((of, partners[row]) for of, row in rows if of == "train")}

    assert not glyphs("train") & glyphs("validation")
    assert not (glyphs("train") | glyphs("validation")) & glyphs("test")
    assert len(glyphs("train") | glyphs("validation")) == TRAIN


def test_another_seed_or_kind_is_packed_again(raw: Path) -> None:
    kinds: tuple[tuple[int, mnist_cdcb.Sides], ...] = ((0, "same"), (1, "same"), (0, "affine"), (0, "class"))
    marks = [{item.fingerprint for item in list_pairs(raw, "set", SIZE, seed, sides).splits["test"]} for seed, sides in kinds]
    assert all(len(of_one) == TEST for of_one in marks)
    assert len(set.union(*marks)) == 4 * TEST


def test_ink_covers_its_share_at_any_size() -> None:
    glyph = np.zeros((28, 28), np.uint8)
    glyph[8:20, 10:14] = 255
    red = np.array([1, 0, 0], np.float32)
    shares = [draw_pair((glyph, glyph), PairDrawing(red, red), side)[0][..., 0].mean() / 255 for side in (32, 64, 256)]
    assert np.allclose(shares, 12 * 4 / 32**2, rtol=0.03)


def test_a_class_of_one_glyph_is_its_own_partner() -> None:
    assert class_partners([0, 1, 1]) == [(0, "0-0"), (2, "1-0"), (1, "1-0")]


@pytest.mark.parametrize("size", [(32, 64), (8, 8)])
def test_sizes_that_show_no_digit_are_refused(raw: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=f"--size {size[0]}x{size[1]}: a digit needs a square of at least 16x16"):
        read_mnist_cdcb(raw, "set", size=size)


@pytest.mark.parametrize("kind", ["mnist-cdcb", "mnist-cdcb-affine", "mnist-cdcb-class"])
def test_foreign_digits_are_refused_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    raw = write_idx_digits(tmp_path / "raw")
    result = CliRunner().invoke(main, ["data", "pack", kind, str(raw), str(tmp_path / "set")])
    assert result.exit_code == 1
    assert "a foreign file, or a damaged one" in result.output
    assert not (tmp_path / "set" / "index.json").exists()
