"""Draws pairs of digits whose shared and exclusive parts are known: a coloured digit on black, a white one on a colour."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GLYPH_SHARE = 28 / 32
"""Side of the glyph in sides of the image, at any size: 28 of 32 pixels, 224 of 256."""
LARGEST_TURN, LARGEST_SHEAR, SCALES, LARGEST_SHIFT = 25.0, 0.2, (0.8, 1.1), 0.1
"""Of an affine map: degrees, shear, factors, and shares of the image's side; each is uniform."""

Colour = NDArray[np.float32]
"""RGB in [0, 1]."""


@dataclass(frozen=True)
class PairDrawing:
    """Everything but the glyphs that decides a pair.

    Attributes:
        digit, ground: colour of the digit in X, of the background in Y.
        maps: an affine map (2, 3) for each side, from places in the drawn image to places in the glyph's, both in [-1, 1] as
            (x, y); None draws the glyph as it is.
    """

    digit: Colour
    ground: Colour
    maps: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def pair_drawing(seed: int, split: str, number: int, moved: bool) -> PairDrawing:
    """Draw the colours, uniform in RGB and independent, and the affine maps of a pair, from its number alone."""
    random = np.random.default_rng([seed, zlib.crc32(split.encode()), number])
    digit, ground = random.random((2, 3)).astype(np.float32)
    return PairDrawing(digit, ground, (_affine_map(random), _affine_map(random)) if moved else None)


def draw_pair(
    glyphs: tuple[NDArray[np.uint8], NDArray[np.uint8]], drawing: PairDrawing, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw X, a coloured digit on black, and Y, a white digit on a coloured background, both (side, side, 3).

    Args:
        glyphs: (28, 28) of each side; their grey is the share of ink in a pixel.
    """
    maps = drawing.maps or (None, None)
    ink_x, ink_y = (draw_ink(glyph, side, moved) for glyph, moved in zip(glyphs, maps, strict=True))
    x, y = ink_x * drawing.digit, ink_y + (1 - ink_y) * drawing.ground
    return np.rint(255 * x).astype(np.uint8), np.rint(255 * y).astype(np.uint8)


def draw_ink(glyph: NDArray[np.uint8], side: int, moved: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """Draw a glyph in the middle of an image: the share of ink in each pixel, (side, side, 1) in [0, 1]."""
    inner = round(GLYPH_SHARE * side)
    resized = glyph if inner == len(glyph) else Image.fromarray(glyph).resize((inner, inner), Image.Resampling.BICUBIC)
    ink = np.zeros((side, side), np.uint8)
    start = (side - inner) // 2
    ink[start : start + inner, start : start + inner] = np.asarray(resized)
    if moved is not None:
        image = Image.fromarray(ink)
        ink = np.asarray(
            image.transform((side, side), Image.Transform.AFFINE, _in_pixels(moved, side), Image.Resampling.BICUBIC)
        )
    share: NDArray[np.float32] = ink.astype(np.float32)[:, :, None] / np.float32(255)
    return share


def _affine_map(random: np.random.Generator) -> NDArray[np.float64]:
    turn = np.deg2rad(random.uniform(-LARGEST_TURN, LARGEST_TURN))
    shear, scale = random.uniform(-LARGEST_SHEAR, LARGEST_SHEAR), random.uniform(*SCALES)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = random.uniform(-2 * LARGEST_SHIFT, 2 * LARGEST_SHIFT, (2, 1))  # the image is 2 wide
    return np.hstack([rotation @ np.array([[1.0, shear], [0.0, 1.0]]) / scale, shift])


def _in_pixels(moved: NDArray[np.float64], side: int) -> tuple[float, ...]:
    """Convert a map of places in [-1, 1] to Pillow's six numbers, for places in pixels."""
    half = side / 2
    linear, shift = moved[:, :2], moved[:, 2]
    offset = half * (1 + shift - linear.sum(1))
    return tuple(float(value) for row, added in zip(linear, offset, strict=True) for value in (*row, added))
