"""DeepFashion in-shop clothes retrieval: people with 18 keypoints (Liu et al., CVPR 2016)."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.files import Files, open_files
from unbraid.datasets.sources.keypoints import KEYPOINTS_FIELD, _forms, _images, _item, read_keypoints
from unbraid.datasets.sources.source import (
    Item,
    Source,
    common_shape,
    image_field,
    split_by_hash,
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
