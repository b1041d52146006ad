"""MNIST-CD/CB: pairs of a coloured digit and a white one on a coloured background (Gonzalez-Garcia et al., NeurIPS 2018).

Drawn from MNIST's files, which SOURCE holds. A batch holds `x`, `y`, `label`, `x_colour` and `y_colour`. Both sides of a pair
show the same glyph.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_array, encode_png
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.idx import SPLITS, find_idx, read_idx
from unbraid.datasets.sources.kinds import Option, PackKind, name_with_size
from unbraid.datasets.sources.mnist import ORIGIN, check_mnist
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field, label_field
from unbraid.datasets.synthetic.digit_pairs import PairDrawing, draw_pair, pair_drawing

GENERATOR, VERSION = "mnist-cdcb", 2
SMALLEST = 16
DOMAINS = ("x", "y")
CIRCLE = 10
"""Glyphs of one class among which partners are chosen; a circle of them is never divided among splits."""

Sides = Literal["same", "affine", "class"]
"""What the two sides of a pair share: the glyph, the glyph but for an affine map of each side, or the glyph's class."""
SizeOption = Annotated[tuple[int, int], Option("Size of the images, a square.")]
SeedOption = Annotated[int, Option("Seed of the colours.", least=0)]


def read_mnist_cdcb(folder: Path, name: str, *, size: SizeOption = (32, 32), seed: SeedOption = 0) -> Source:
    """List one pair for each digit of MNIST, which share its glyph, see :func:`list_pairs`."""
    return list_pairs(folder, name, size, seed, "same")


def list_pairs(folder: Path, name: str, size: tuple[int, int], seed: int, sides: Sides) -> Source:
    """List one pair for each digit of MNIST; the two colours are uniform in RGB and independent.

    X is the digit in a colour on black, Y a digit in white on a colour. MNIST's own test digits are the test split.
    Fields ``x_colour`` and ``y_colour`` are the true colours, RGB in [0, 1]: of the digit in X, of the background in Y.

    Raises:
        DataError: when a file is missing or is not MNIST's, or the size is not a square of 16 pixels at least.
    """
    if size[0] != size[1] or size[0] < SMALLEST:
        raise DataError(f"--size {size[0]}x{size[1]}: a digit needs a square of at least {SMALLEST}x{SMALLEST} pixels")
    check_mnist(folder)
    splits: dict[str, list[Item]] = {}
    for split, prefix in SPLITS.items():
        glyphs, labels = (read_idx(find_idx(folder, f"{prefix}-{part}-ubyte")) for part in ("images-idx3", "labels-idx1"))
        partners = class_partners(labels.tolist()) if sides == "class" else [(i, f"{i}") for i in range(len(glyphs))]
        splits[split] = [
            Item(
                f"{split}-{i:05d}",
                partial(
                    _members, (glyphs[i], glyphs[j]), int(labels[i]), pair_drawing(seed, split, i, sides == "affine"), size[0]
                ),
                fingerprint(GENERATOR, VERSION, sides, size, seed, split, i),  # check_mnist has verified the glyphs
                group=f"{split}-{group}",
            )
            for i, (j, group) in enumerate(partners)
        ]
    colours = {f"{domain}_colour": Field("array", (f"{domain}_colour.npy",), (3,)) for domain in DOMAINS}
    return Source(
        name=name,
        fields={d: image_field((3, *size), f"{d}.") for d in DOMAINS} | {"label": label_field()} | colours,
        splits=splits,
        licence="CC BY-SA 3.0",
        origin=f"coloured by unbraid from {ORIGIN}",
        classes=tuple(str(label) for label in range(10)),
        shuffle=False,  # published in random order
        is_computed=True,
        recipe={"generator": GENERATOR, "version": VERSION, "seed": seed, "sides": sides},
    )


def class_partners(labels: Sequence[int]) -> list[tuple[int, str]]:
    """Choose another glyph of the same class for each: the next one in a circle of ten.

    Returns:
        For each glyph the row of its partner, and the name of their circle. A circle that is left with one glyph joins the
        one before; a class of one glyph has no other partner than itself.
    """
    partners: list[tuple[int, str]] = [(0, "")] * len(labels)
    of_class: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        of_class.setdefault(label, []).append(row)
    for label, rows in of_class.items():
        circles = [rows[i : i + CIRCLE] for i in range(0, len(rows), CIRCLE)]
        if len(circles) > 1 and len(circles[-1]) == 1:
            single = circles.pop()
            circles[-1] += single
        for number, circle in enumerate(circles):
            for row, partner in zip(circle, circle[1:] + circle[:1], strict=True):
                partners[row] = (partner, f"{label}-{number}")
    return partners


def _members(
    glyphs: tuple[NDArray[np.uint8], NDArray[np.uint8]], label: int, drawing: PairDrawing, side: int
) -> Mapping[str, bytes]:
    members = {"cls": b"%d" % label}
    colours = (drawing.digit, drawing.ground)
    for domain, image, colour in zip(DOMAINS, draw_pair(glyphs, drawing, side), colours, strict=True):
        members |= {f"{domain}.png": encode_png(image), f"{domain}_colour.npy": encode_array(colour)}
    return members


PACK = PackKind(read_mnist_cdcb, example="--size 256x256", default_name=name_with_size, fetched="mnist")
