"""SVHN, cropped digits of house numbers (Netzer et al., 2011).

SOURCE is a folder with ``train_32x32.mat`` and ``test_32x32.mat``; ``extra_32x32.mat`` is packed where it is there. A batch
holds ``image`` and ``label``.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.files import find_entry, require_file
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.sources.kinds import PackKind
from unbraid.datasets.sources.source import Item, Source, image_field, label_field
from unbraid.datasets.untrusted.text import in_one_line

SPLITS = ("train", "test", "extra")
MOST_IMAGES = 1 << 20
"""In one file; the largest has 531,131."""


def read_svhn(folder: Path, name: str) -> Source:
    """List the samples of each split whose file is there; ``extra`` is optional.

    Raises:
        DataError: when a file is missing or is not SVHN's.
    """
    splits: dict[str, list[Item]] = {}
    for split in SPLITS:
        file = f"{split}_32x32.mat"
        if split == "extra" and not (folder / file).exists():
            continue
        missing = f"{folder / file}: no such file; expected SVHN's cropped digits, {file}"
        images, labels = _read(require_file(find_entry(folder, [file], missing)))
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        splits[split] = [
            Item(f"{split}-{i:06d}", partial(_members, images, labels, i), f"{digest} {i}") for i in range(len(labels))
        ]
    return Source(
        name=name,
        fields={"image": image_field((3, 32, 32)), "label": label_field()},
        splits=splits,
        licence="non-commercial use only",
        origin="Netzer et al.: Reading Digits in Natural Images with Unsupervised Feature Learning, 2011",
        classes=tuple("0123456789"),
    )


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images (N, 32, 32, 3) and labels 0 to 9 (N,); the file calls the digit 0 class 10."""
    from scipy.io import loadmat, whosmat

    try:
        described = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}  # before memory is taken for values
        _require_digits(described, path)
        content = loadmat(str(path), variable_names=["X", "y"])
        images, labels = content["X"], content["y"].reshape(-1).astype(np.int64)
    except DataError:
        raise
    except Exception as error:  # scipy documents none of what it raises for a damaged file
        raise DataError(f"{path}: not a file of SVHN's cropped digits ({in_one_line(error)}); fetch it again") from None
    if images.dtype != np.uint8 or labels.min() < 0 or labels.max() > 10:
        raise DataError(f"{path}: X is {images.dtype}, y is {labels.min()} to {labels.max()}, expected uint8 and 1 to 10")
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels % 10


def _require_digits(described: Mapping[str, tuple[tuple[int, ...], str]], path: Path) -> None:
    """Check the variables that a file holds, by name their shape and type.

    Raises:
        DataError: when they are not images and labels of SVHN's.
    """
    (x, kind), (y, _) = described.get("X", ((), "missing")), described.get("y", ((), "missing"))
    if kind != "uint8" or len(x) != 4 or x[:3] != (32, 32, 3) or not 1 <= x[3] == math.prod(y) <= MOST_IMAGES:
        raise DataError(f"{path}: X is {x} {kind} for {y} labels, expected (32, 32, 3, N) uint8 for N labels, 1 at least")


def _members(images: NDArray[np.uint8], labels: NDArray[np.int64], i: int) -> Mapping[str, bytes]:
    return {"png": encode_png(images[i]), "cls": b"%d" % labels[i]}


PACK = PackKind(read_svhn, example="~/svhn")
