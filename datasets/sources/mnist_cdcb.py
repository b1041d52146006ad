"""MNIST-CD/CB: pairs of a coloured digit and the same digit on a coloured background (Gonzalez-Garcia et al., NeurIPS 2018).

Drawn from MNIST's files, which SOURCE holds. A batch holds ``x``, ``y``, ``label``, ``x_colour`` and ``y_colour``.
"""

import colorsys
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_array, encode_png
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.idx import SPLITS, find_idx, read_idx
from unbraid.datasets.sources.kinds import Option, PackKind, name_with_size
from unbraid.datasets.sources.mnist import ORIGIN, check_mnist
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field, label_field

GENERATOR, VERSION = "mnist-cdcb", 1
GLYPH_SHARE = 28 / 32
"""Side of the glyph in sides of the image, at any size: 28 of 32 pixels, 224 of 256."""
SMALLEST = 16
DOMAINS = ("x", "y")

Colour = NDArray[np.float32]


def read_mnist_cdcb(
    folder: Path,
    name: str,
    *,
    size: Annotated[tuple[int, int], Option("Size of the images, a square.")] = (32, 32),
    seed: Annotated[int, Option("Seed of the colours.", least=0)] = 0,
) -> Source:
    """List one pair for each digit of MNIST, which share its glyph; the two hues are drawn independently.

    X is the digit in a saturated colour on black, Y the digit in black on one. MNIST's own test digits are the test split.
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
        splits[split] = [
            Item(
                f"{split}-{i:05d}",
                partial(_members, glyphs[i], int(labels[i]), pair_colours(seed, split, i), size[0]),
                fingerprint(GENERATOR, VERSION, size, seed, split, i),  # check_mnist has verified the glyphs
            )
            for i in range(len(glyphs))
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
        recipe={"generator": GENERATOR, "version": VERSION, "seed": seed},
    )


def pair_colours(seed: int, split: str, number: int) -> tuple[Colour, Colour]:
    """Draw the colours of X and of Y of one pair: fully saturated and bright, hues uniform and independent."""
    hues = np.random.default_rng([seed, zlib.crc32(split.encode()), number]).random(2)
    digit, ground = (np.array(colorsys.hsv_to_rgb(float(hue), 1.0, 1.0), np.float32) for hue in hues)
    return digit, ground


def draw_pair(
    glyph: NDArray[np.uint8], digit: Colour, ground: Colour, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw X and Y (side, side, 3) of one glyph (28, 28), whose grey is the share of ink in a pixel."""
    inner = round(GLYPH_SHARE * side)
    resized = glyph if inner == len(glyph) else Image.fromarray(glyph).resize((inner, inner), Image.Resampling.BICUBIC)
    ink = np.zeros((side, side, 1), np.float32)
    start = (side - inner) // 2
    ink[start : start + inner, start : start + inner, 0] = np.asarray(resized, np.float32) / 255
    return np.rint(255 * ink * digit).astype(np.uint8), np.rint(255 * (1 - ink) * ground).astype(np.uint8)


def _members(glyph: NDArray[np.uint8], label: int, colours: tuple[Colour, Colour], side: int) -> Mapping[str, bytes]:
    members = {"cls": b"%d" % label}
    for domain, image, colour in zip(DOMAINS, draw_pair(glyph, *colours, side), colours, strict=True):
        members |= {f"{domain}.png": encode_png(image), f"{domain}_colour.npy": encode_array(colour)}
    return members


PACK = PackKind(read_mnist_cdcb, example="--size 256x256", default_name=name_with_size, fetched="mnist")
