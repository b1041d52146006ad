"""MNIST and its relatives: four IDX files (LeCun, Cortes & Burges)."""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.idx import read_idx, read_uncompressed
from unbraid.datasets.sources.source import Item, Source, encode_png, image_field, label_field

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""The four files and the MD5 of each, uncompressed."""

ORIGIN = "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits"
SPLITS = {"train": "train", "test": "t10k"}
"""Of each split: the prefix of its files."""


def read_mnist(folder: Path) -> Source:
    """MNIST itself: the four files are known by their checksums.

    Raises:
        DataError: when a file is missing, damaged, or not MNIST's.
    """
    check_mnist(folder)
    return _source("mnist", folder, "CC BY-SA 3.0", ORIGIN)


def read_idx_set(folder: Path, name: str) -> Source:
    """Any set in MNIST's four files: Fashion-MNIST, KMNIST and the like.

    Raises:
        DataError: when a file is missing or damaged, or images and labels do not belong together.
    """
    return _source(name, folder, "unknown", "")


def check_mnist(folder: Path) -> None:
    """See that a folder has MNIST's four files, unchanged.

    Raises:
        DataError: naming the file that is missing, damaged or another one.
    """
    for file, md5 in MD5.items():
        path = find_idx(folder, file)
        read_idx(path)
        found = hashlib.md5(read_uncompressed(path), usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(
                f"{path}: its MD5 is {found}, MNIST's {file} has {md5}: a foreign file, or a damaged one; fetch it again"
            )


def find_idx(folder: Path, file: str) -> Path:
    """An IDX file under one of the names that mirrors give it.

    Raises:
        DataError: when it is not there.
    """
    # some mirrors name them train-images.idx3-ubyte
    for name in (file, f"{file}.gz", file.replace("-idx", ".idx"), file.replace("-idx", ".idx") + ".gz"):
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder / file}: no such file (nor with .gz); expected MNIST's four IDX files there")


def _source(name: str, folder: Path, licence: str, origin: str) -> Source:
    splits: dict[str, list[Item]] = {}
    classes, shape = 0, (1, 0, 0)
    for split, prefix in SPLITS.items():
        path = find_idx(folder, f"{prefix}-images-idx3-ubyte")
        images, labels = read_idx(path), read_idx(find_idx(folder, f"{prefix}-labels-idx1-ubyte"))
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"{path}: holds {images.shape} images for {labels.shape} labels: files of different sets?")
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        splits[split] = [
            Item(f"{split}-{i:05d}", partial(_members, images, labels, i), f"{digest} {i}") for i in range(len(images))
        ]
        classes = max(classes, int(labels.max()) + 1)
        shape = (1, *images.shape[1:])
    return Source(
        name=name,
        fields={"image": image_field(shape), "label": label_field()},
        splits=splits,
        licence=licence,
        origin=origin,
        classes=tuple(str(label) for label in range(classes)),
        shuffle=False,  # published in random order
    )


def _members(images: NDArray[np.uint8], labels: NDArray[np.uint8], i: int) -> Mapping[str, bytes]:
    return {"png": encode_png(images[i]), "cls": b"%d" % labels[i]}
