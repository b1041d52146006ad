"""Samples of people with 18 keypoints, and the CSV that pose estimators' users share."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.codec import image_shape
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.files import Files
from unbraid.datasets.sources.source import (
    IMAGE_SUFFIXES,
    Item,
    UnusableSampleError,
    encode_array,
    fingerprint,
    fit_image,
)

KEYPOINTS = 18


KEYPOINTS_FIELD = Field("array", ("keypoints.npy",), (KEYPOINTS, 3))


Keypoints = Mapping[str, NDArray[np.float32]]


def read_keypoints(paths: Sequence[Path]) -> dict[str, NDArray[np.float32]]:
    """(18, 3) row, column, visible, by image name.

    Raises:
        DataError: naming file, line and what is wrong there.
    """
    if not paths:
        raise DataError("no keypoints: name the CSV files (name:keypoints_y:keypoints_x) with --keypoints")
    poses: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        try:
            lines = csv.reader(io.StringIO(path.read_text()), delimiter=":", quoting=csv.QUOTE_NONE)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from None
        for number, line in enumerate(lines, 1):
            if not line or line[0] == "name":
                continue
            try:
                name, rows, columns = (part.strip() for part in line)
                poses[name] = _pose(json.loads(rows), json.loads(columns))
            except ValueError as error:
                raise DataError(f"{path}: line {number}: expected name:[18 rows]:[18 columns] ({error})") from None
    return poses


def _pose(rows: object, columns: object) -> NDArray[np.float32]:
    pose = np.zeros((KEYPOINTS, 3), np.float32)
    for axis, values in enumerate((rows, columns)):
        if not isinstance(values, list) or len(values) != KEYPOINTS:
            raise ValueError(f"{len(values) if isinstance(values, list) else 'no list of'} values")
        pose[:, axis] = values
    pose[:, 2] = (pose[:, :2] >= 0).all(1)
    pose[pose[:, 2] == 0, :2] = -1
    return pose


def _item(
    files: Files, name: str, key: str, pose: NDArray[np.float32], size: tuple[int, int], numbers: Mapping[str, bytes]
) -> Item:
    mark = fingerprint(files.fingerprint(name), size, pose.tolist(), {k: v.decode() for k, v in numbers.items()})
    return Item(key, partial(_members, files, name, pose, size, numbers), mark)


def _members(
    files: Files, name: str, pose: NDArray[np.float32], size: tuple[int, int], numbers: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """Keypoints follow the image when that is resized; those outside of it count as missing.

    Raises:
        UnusableSampleError: when none is inside.
    """
    content = files.read(name)
    extension, fitted = fit_image(content, f"{files.where}/{name}", size)
    _, height, width = image_shape(content)
    moved = pose.copy()
    outside = (moved[:, :2] >= np.array([height, width])).any(1)
    moved[outside] = (-1, -1, 0)
    seen = moved[:, 2] == 1
    if not seen.any():
        found = "none was found" if not outside.any() else "all found ones lie outside: are they for another size?"
        raise UnusableSampleError(f"{files.where}/{name}: no keypoint in its {height}x{width} pixels ({found})")
    moved[seen, :2] *= np.array([size[0] / height, size[1] / width], np.float32)
    return {extension: fitted, "keypoints.npy": encode_array(moved), **numbers}


def _images(files: Files) -> list[str]:
    return [n for n in files.names if n.lower().endswith(IMAGE_SUFFIXES)]


def _forms(name: str) -> tuple[str, ...]:
    """The names that lists use for an image."""
    parts = PurePosixPath(name).parts
    tails = ["/".join(parts[i:]) for i in range(len(parts))]
    joined = [tail.replace("/", "") for tail in tails]
    return (*tails, *joined, *(f"fashion{name.replace('_', '')}" for name in joined))


def _unmatched(poses: Keypoints, files: Files) -> list[str]:
    there = {PurePosixPath(name).name for name in files.names}
    return [f"keypoints of {name}, which does not exist" for name in poses if name not in there]
