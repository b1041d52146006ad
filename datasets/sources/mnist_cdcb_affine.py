"""MNIST-CD/CB whose two sides are moved, each by an affine map of its own.

Drawn from MNIST's files, which SOURCE holds. A batch holds `x`, `y`, `label`, `x_colour` and `y_colour`. A pair
shows the same glyph on both sides, each turned, sheared, scaled and shifted by itself.
"""

from pathlib import Path

from unbraid.datasets.sources.kinds import PackKind, name_with_size
from unbraid.datasets.sources.mnist_cdcb import SeedOption, SizeOption, list_pairs
from unbraid.datasets.sources.source import Source


def read_mnist_cdcb_affine(folder: Path, name: str, *, size: SizeOption = (32, 32), seed: SeedOption = 0) -> Source:
    """List one pair for each digit of MNIST, which share its glyph but for the maps, see :func:`.list_pairs`."""
    return list_pairs(folder, name, size, seed, "affine")


PACK = PackKind(read_mnist_cdcb_affine, example="--size 256x256", default_name=name_with_size, fetched="mnist")
