"""Images of a model over a grid of its factors, drawn beforehand: a page shows what each factor does without a server."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from unbraid.trainers.use.images import Images

MOST_PIXELS = 4_000_000
"""Of all images of an explorer together."""
SIDE = 64
"""Longest side of the small pictures beside an axis."""


@dataclass(frozen=True)
class Axis:
    """One factor.

    Attributes:
        name: of the factor, such as ``continuous_0``.
        labels: of its values, one a step.
        start: the step that is shown first.
        pictures: what each step stands for; None where the label says it.
    """

    name: str
    labels: Sequence[str]
    start: int = 0
    pictures: Images | None = None


@dataclass(frozen=True)
class Explorer:
    """Images for every combination of steps.

    Attributes:
        images: the last axis varies fastest.
        words: what is seen, in a sentence.
    """

    axes: Sequence[Axis]
    images: Images
    words: str

    @property
    def columns(self) -> int:
        """Of the sprite: a whole number of sweeps of the last axis, in a picture about square."""
        last = len(self.axes[-1].labels)
        return last * max(1, round(math.sqrt(len(self.images)) / last))

    def sprite(self) -> bytes:
        """All images side by side in rows of :attr:`columns`, as WebP."""
        return _webp(_tiled(self.images, self.columns))


def thumbnails(images: Images) -> list[bytes]:
    """Each image as a small WebP."""
    found = []
    for image in images:
        image.thumbnail((SIDE, SIDE))
        found.append(_webp(image))
    return found


def _tiled(images: Images, columns: int) -> Image.Image:
    _, channels, height, width = images.tensor.shape
    rows = -(-len(images) // columns)
    tiled = Image.new("L" if channels == 1 else "RGB", (columns * width, rows * height))
    for number, image in enumerate(images):
        tiled.paste(image, (number % columns * width, number // columns * height))
    return tiled


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=88)
    return buffer.getvalue()
