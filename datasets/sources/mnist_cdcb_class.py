"""MNIST-CD/CB whose sides share the class only: another glyph of the same digit.

Drawn from MNIST's files, which SOURCE holds. A batch holds `x`, `y`, `label`, `x_colour` and `y_colour`. A pair
shows two glyphs of one class.
"""

from pathlib import Path

from unbraid.datasets.sources.kinds import PackKind, name_with_size
from unbraid.datasets.sources.mnist_cdcb import SeedOption, SizeOption, list_pairs
from unbraid.datasets.sources.source import Source


def read_mnist_cdcb_class(folder: Path, name: str, *, size: SizeOption = (32, 32), seed: SeedOption = 0) -> Source:
    """List one pair for each digit of MNIST, each with another glyph of its class, see :func:`.list_pairs`."""
    return list_pairs(folder, name, size, seed, "class")


PACK = PackKind(read_mnist_cdcb_class, example="--size 256x256", default_name=name_with_size, fetched="mnist")
