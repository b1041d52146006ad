"""Strokes: pictures of 16x16 with a known number of strokes.

SOURCE is a file of one line a picture, ``SPLIT COUNT SLANT``. A batch holds ``image``, ``count`` and ``slant``.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field

SIDE = 16


def read_tally(
    file: Path, name: str, *, ink: Annotated[int, Option("Brightness of strokes.", least=1, most=255)] = 255
) -> Source:
    """List one picture for each line.

    Raises:
        DataError: when the file is missing, or a line is not ``SPLIT COUNT SLANT``.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected lines of SPLIT COUNT SLANT")
    splits: dict[str, list[Item]] = {}
    for number, line in enumerate(file.read_text().splitlines()):
        words = line.split()
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
            raise DataError(f"{file}: line {number + 1} is {line!r}; expected SPLIT COUNT SLANT")
        load = partial(draw, int(words[1]), int(words[2]), ink)
        splits.setdefault(words[0], []).append(Item(f"{number:05d}", load, fingerprint(words[1], words[2], ink)))
    return Source(
        name=name,
        fields={
            "image": image_field((1, SIDE, SIDE)),
            "count": Field("integer", ("count",)),
            "slant": Field("integer", ("slant",)),
        },
        splits=splits,
        origin=f"drawn from {hashlib.sha256(file.read_bytes()).hexdigest()[:8]}",
    )


def draw(count: int, slant: int, ink: int) -> Mapping[str, bytes]:
    """Draw strokes that lean by ``slant`` pixels."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    rows = np.arange(2, SIDE - 2)
    for stroke in range(count):
        pixels[rows, (2 + 2 * stroke + rows * slant // SIDE) % SIDE] = ink
    return {"png": encode_png(pixels), "count": b"%d" % count, "slant": b"%d" % slant}


PACK = PackKind(read_tally, example="~/strokes.txt --ink 200")
