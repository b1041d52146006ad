"""DeepFashion, in-shop clothes retrieval, with 18 keypoints (Liu et al., CVPR 2016).

SOURCE holds the in-shop images in any folders. A batch holds ``image``, ``keypoints`` and ``person`` (the clothing item). An
image is named in a keypoint file by its path, its file name, or its path without separators (``fashionMENDenimid…``).
``list_eval_partition.txt`` decides the split where it is there, else a hash of the item: no item is in two splits.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.files import Files, open_files
from unbraid.datasets.sources.images import common_shape, image_names
from unbraid.datasets.sources.keypoints import (
    KEYPOINTS_FIELD,
    KEYPOINTS_OPTION,
    keypoint_item,
    number_field,
    read_keypoints,
)
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, image_field, key_of, split_by_hash

PARTITION_FILE = "list_eval_partition.txt"
TEST_SHARE = 0.1
UNKNOWN_ITEM = -1
"""The number of images whose path names no clothing item."""


def read_deepfashion(
    path: Path,
    name: str,
    *,
    keypoints: Annotated[tuple[Path, ...], KEYPOINTS_OPTION] = (),
    size: Annotated[tuple[int, int] | None, Option("Resize every image.  [default: as they are, else 256x256]")] = None,
) -> Source:
    """List the images that have keypoints, with the clothing item in the path of each (``id_00000001``) as ``person``.

    Raises:
        DataError: when there are no images, none has keypoints, or the list of splits cannot be read.
    """
    files = open_files(path)
    known = read_keypoints(keypoints)
    images = image_names(files.names)
    found = common_shape(files.read, images, files.where)
    size = size or ((found[1], found[2]) if found else (256, 256))
    listed = _read_partition(files)
    splits: dict[str, list[Item]] = {}
    left_out: list[str] = []
    for image in images:
        forms = _listed_forms(image)
        entry = next((form for form in forms if form in known), None)
        if entry is None:
            left_out.append(f"{image} has no keypoints")
            continue
        match = re.search(r"id_?(\d{8})", image)
        item = int(match[1]) if match else UNKNOWN_ITEM
        split = next((listed[form] for form in forms if form in listed), None) or split_by_hash(str(item), TEST_SHARE)
        key = key_of(str(PurePosixPath(image).with_suffix("")))
        splits.setdefault(split, []).append(keypoint_item(files, image, key, known[entry], size, {"person": item}))
    if not splits:
        raise DataError(f"{path}: none of {len(images)} images has keypoints in {', '.join(map(str, keypoints))}")
    return Source(
        name=name,
        fields={"image": image_field((3, *size)), "keypoints": KEYPOINTS_FIELD, "person": number_field("person")},
        splits=splits,
        licence="non-commercial research only",
        origin="Liu et al.: DeepFashion, in-shop clothes retrieval, CVPR 2016",
        left_out=[*files.left_out, *left_out],
    )


def _listed_forms(name: str) -> tuple[str, ...]:
    """Return the names by which lists may mean an image: every tail of its path, with and without separators."""
    parts = PurePosixPath(name).parts
    tails = ["/".join(parts[i:]) for i in range(len(parts))]
    joined = [tail.replace("/", "") for tail in tails]
    return (*tails, *joined, *(f"fashion{tail.replace('_', '')}" for tail in joined))


def _read_partition(files: Files) -> dict[str, str]:
    """Read the split (train, query or gallery) of each listed image; the first two lines are a count and a header."""
    name = next((n for n in files.names if n.endswith(PARTITION_FILE)), None)
    if name is None:
        return {}
    listed = {}
    for number, line in enumerate(files.read(name).decode().splitlines()[2:], 3):
        try:
            image, _, split = line.split()
        except ValueError:
            raise DataError(f"{files.where}/{name}: line {number}: expected IMAGE ITEM SPLIT, found {line!r}") from None
        listed[image] = split
    return listed


PACK = PackKind(read_deepfashion, example="~/in-shop --keypoints fashion.csv --size 256x256")
