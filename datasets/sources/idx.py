"""Any set in MNIST's four IDX files: Fashion-MNIST, KMNIST and the like.

SOURCE is a folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same two of ``t10k``, gzipped or not.
A batch holds ``image`` and ``label``.
"""

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.files import find_entry, require_file
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.sources.kinds import PackKind, name_of_path
from unbraid.datasets.sources.source import Item, Source, image_field, label_field

SPLITS = {"train": "train", "test": "t10k"}
"""Of each split: the prefix of its files."""
LARGEST_IDX = 2 << 30
"""Bytes, unpacked: EMNIST's largest has 0.6 GB."""
_UINT8 = 0x08


def read_idx_set(folder: Path, name: str, licence: str = "unknown", origin: str = "") -> Source:
    """List the samples of four IDX files in ``folder``; the images of a split share one size.

    Raises:
        DataError: when a file is missing or damaged, or images and labels do not belong together.
    """
    splits: dict[str, list[Item]] = {}
    classes, shape = 0, (1, 0, 0)
    for split, prefix in SPLITS.items():
        path = find_idx(folder, f"{prefix}-images-idx3-ubyte")
        images, labels = read_idx(path), read_idx(find_idx(folder, f"{prefix}-labels-idx1-ubyte"))
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"{path}: holds {images.shape} images for {labels.shape} labels: files of different sets?")
        if not images.size:
            raise DataError(f"{path}: holds no pixels, {images.shape}; fetch it again")
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


def find_idx(folder: Path, file: str) -> Path:
    """Find an IDX file under one of the names that mirrors give it.

    Raises:
        DataError: when it is not there.
    """
    # some mirrors name them train-images.idx3-ubyte
    names = (file, f"{file}.gz", file.replace("-idx", ".idx"), file.replace("-idx", ".idx") + ".gz")
    missing = f"{folder / file}: no such file (nor with .gz); expected MNIST's four IDX files there"
    return find_entry(folder, names, missing)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read the array in an IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: when the file is missing, is not IDX, holds another type, or is shorter or longer than its header says.
    """
    content = read_uncompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UINT8 or not 1 <= content[3] <= 4:
        raise DataError(f"{path}: not an IDX file of unsigned bytes (it begins {content[:4].hex(' ') or 'with nothing'})")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path}: has {len(content)} bytes where its header says {expected}; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_uncompressed(path: Path) -> bytes:
    """Read a file, and unpack it when it is gzipped.

    Raises:
        DataError: when the file is missing or its gzip stream is damaged.
    """
    try:
        raw = require_file(path).read_bytes()
        if raw[:2] != b"\x1f\x8b":
            return raw
        with gzip.open(path) as unpacked:
            content = unpacked.read(LARGEST_IDX + 1)
        if len(content) > LARGEST_IDX:
            raise DataError(f"{path}: unpacks to more than {LARGEST_IDX:,} bytes, which no IDX file that is read here has")
        return content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: a damaged gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _members(images: NDArray[np.uint8], labels: NDArray[np.uint8], i: int) -> Mapping[str, bytes]:
    return {"png": encode_png(images[i]), "cls": b"%d" % labels[i]}


PACK = PackKind(read_idx_set, example="~/fashion-mnist", default_name=name_of_path)
