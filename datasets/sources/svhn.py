"""SVHN, cropped digits of house numbers (Netzer et al., 2011).

SOURCE is a folder with ``train_32x32.mat`` and ``test_32x32.mat``; ``extra_32x32.mat`` is packed where it is there. A batch
holds ``image`` and ``label``.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.sources.kinds import PackKind
from unbraid.datasets.sources.source import Item, Source, image_field, label_field

SPLITS = ("train", "test", "extra")


def read_svhn(folder: Path, name: str) -> Source:
    """List the samples of each split whose file is there; ``extra`` is optional.

    Raises:
        DataError: when a file is missing or is not SVHN's.
    """
    splits: dict[str, list[Item]] = {}
    for split in SPLITS:
        path = folder / f"{split}_32x32.mat"
        if not path.is_file():
            if split == "extra":
                continue
            raise DataError(f"{path}: no such file; expected SVHN's cropped digits, {split}_32x32.mat")
        images, labels = _read(path)
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
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(str(path))
        images, labels = content["X"], content["y"].reshape(-1).astype(np.int64)
    except (MatReadError, ValueError, OSError, KeyError, TypeError, NotImplementedError) as error:
        raise DataError(f"{path}: not a file of SVHN's cropped digits ({error}); fetch it again") from None
    if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.shape[3] != len(labels) or images.dtype != np.uint8:
        raise DataError(f"{path}: X is {images.shape} {images.dtype} for {len(labels)} labels, expected (32, 32, 3, N) uint8")
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels % 10


def _members(images: NDArray[np.uint8], labels: NDArray[np.int64], i: int) -> Mapping[str, bytes]:
    return {"png": encode_png(images[i]), "cls": b"%d" % labels[i]}


PACK = PackKind(read_svhn, example="~/svhn")
