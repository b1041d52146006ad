"""People with 18 keypoints: Market-1501 (Zheng et al., ICCV 2015) and DeepFashion in-shop (Liu et al., CVPR 2016).

Keypoints come as the CSV that pose estimators' users share: ``name:keypoints_y:keypoints_x``, the two lists as JSON, -1 where a
point was not seen. A sample holds them as float32 (18, 3): row, column, visible.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from datasets.decoding import image_shape
from datasets.errors import DataError
from datasets.index import Field
from datasets.sources.files import Files, open_files
from datasets.sources.source import (
    IMAGE_SUFFIXES,
    Item,
    Source,
    UnusableSampleError,
    common_shape,
    encode_array,
    fingerprint,
    fit_image,
    image_field,
    split_by_hash,
)

KEYPOINTS = 18
MARKET_NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_\d+_\d+")
MARKET_SPLITS = {"bounding_box_train": "train", "bounding_box_test": "test", "query": "query"}
JUNK_PERSON = -1
"""Market-1501's detections that are no whole person; not packed. Person 0 are distractors: packed, nobody trains on them."""
KEYPOINTS_FIELD = Field("array", ("keypoints.npy",), (KEYPOINTS, 3))

Keypoints = Mapping[str, NDArray[np.float32]]


def read_market1501(folder: Path, keypoints: Sequence[Path], size: tuple[int, int] | None = None) -> Source:
    """``bounding_box_train``, ``bounding_box_test`` and ``query``, with the person and the camera of each image.

    Args:
        keypoints: CSV files; together they may cover more or fewer images than there are.

    Raises:
        DataError: when a folder is missing, a name is not Market's, or no image has keypoints.
    """
    files = open_files(folder)
    size = size or (128, 64)
    poses = read_keypoints(keypoints)
    splits: dict[str, list[Item]] = {split: [] for split in MARKET_SPLITS.values()}
    left_out: list[str] = []
    for name in _images(files):
        path = PurePosixPath(name)
        split = MARKET_SPLITS.get(path.parent.name)
        if split is None:
            left_out.append(f"{name} lies in none of {', '.join(MARKET_SPLITS)}")
            continue
        match = MARKET_NAME.match(path.name)
        if match is None:
            raise DataError(f"{files.where}/{name}: not a name of Market-1501, such as 0002_c1s1_000451_03.jpg")
        person, camera = int(match[1]), int(match[2])
        if person == JUNK_PERSON:
            left_out.append(f"{name} is junk (person -1)")
            continue
        if path.name not in poses:
            left_out.append(f"{name} has no keypoints")
            continue
        numbers = {"person.id": b"%d" % person, "camera.id": b"%d" % camera}
        splits[split].append(_item(files, name, f"{path.parent.name}/{path.stem}", poses[path.name], size, numbers))
    if not splits["train"]:
        raise DataError(f"{folder}: no image of bounding_box_train has keypoints in {', '.join(map(str, keypoints))}")
    numbers_fields = {"person": Field("integer", ("person.id",)), "camera": Field("integer", ("camera.id",))}
    return Source(
        name="market1501",
        fields={"image": image_field((3, *size)), "keypoints": KEYPOINTS_FIELD, **numbers_fields},
        splits={split: items for split, items in splits.items() if items},
        licence="research only",
        origin="Zheng et al.: Scalable Person Re-identification: A Benchmark, ICCV 2015",
        left_out=[*left_out, *_unmatched(poses, files)],
    )


def read_deepfashion(folder: Path, keypoints: Sequence[Path], size: tuple[int, int] | None = None) -> Source:
    """In-shop images, wherever they lie below ``folder``, with the clothing item of each (``id_00000001``) as ``person``.

    An image is named in the CSV by its path, its file name, or its path without separators (``fashionMENDenimid…``).
    ``list_eval_partition.txt`` decides the split where it is there, else a hash of the item: no item is in two splits.

    Raises:
        DataError: when there are no images, or none has keypoints.
    """
    files = open_files(folder)
    poses = read_keypoints(keypoints)
    images = _images(files)
    found = common_shape(files.read, images, files.where)
    size = size or ((found[1], found[2]) if found else (256, 256))
    listed = _read_partition(files)
    splits: dict[str, list[Item]] = {}
    left_out: list[str] = []
    for name in images:
        known = next((form for form in _forms(name) if form in poses), None)
        if known is None:
            left_out.append(f"{name} has no keypoints")
            continue
        match = re.search(r"id_?(\d{8})", name)
        item = int(match[1]) if match else -1
        split = next((listed[form] for form in _forms(name) if form in listed), None) or split_by_hash(str(item), 0.1)
        key = str(PurePosixPath(name).with_suffix("")).replace(".", "_")
        splits.setdefault(split, []).append(_item(files, name, key, poses[known], size, {"person.id": b"%d" % item}))
    if not splits:
        raise DataError(f"{folder}: none of {len(images)} images has keypoints in {', '.join(map(str, keypoints))}")
    return Source(
        name="deepfashion",
        fields={"image": image_field((3, *size)), "keypoints": KEYPOINTS_FIELD, "person": Field("integer", ("person.id",))},
        splits=splits,
        licence="non-commercial research only",
        origin="Liu et al.: DeepFashion, in-shop clothes retrieval, CVPR 2016",
        left_out=left_out,
    )


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


def _read_partition(files: Files) -> dict[str, str]:
    """Of DeepFashion's list: image, item, train / query / gallery; the first two lines are a count and a header."""
    name = next((n for n in files.names if n.endswith("list_eval_partition.txt")), None)
    if name is None:
        return {}
    listed = {}
    for line in files.read(name).decode().splitlines()[2:]:
        image, _, split = line.split()
        listed[image] = split
    return listed


def _unmatched(poses: Keypoints, files: Files) -> list[str]:
    there = {PurePosixPath(name).name for name in files.names}
    return [f"keypoints of {name}, which does not exist" for name in poses if name not in there]
