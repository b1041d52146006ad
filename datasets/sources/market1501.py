"""Market-1501: identities seen by six cameras, with 18 keypoints (Zheng et al., ICCV 2015).

SOURCE holds ``bounding_box_train``, ``bounding_box_test`` and ``query``. A batch holds ``image``, ``keypoints``, ``person``
(the identity) and ``camera``. The keypoint files may cover more or fewer images than there are.
"""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.files import open_files
from unbraid.datasets.sources.images import image_names
from unbraid.datasets.sources.keypoints import (
    KEYPOINTS_FIELD,
    KEYPOINTS_OPTION,
    keypoint_item,
    number_field,
    read_keypoints,
)
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, image_field

NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_\d+_\d+")
SPLITS = {"bounding_box_train": "train", "bounding_box_test": "test", "query": "query"}
JUNK_IDENTITY = -1
"""Detections that show no whole body; they are not packed. Identity 0 holds distractors: they are packed in the test split."""


def read_market1501(
    path: Path,
    name: str,
    *,
    keypoints: Annotated[tuple[Path, ...], KEYPOINTS_OPTION] = (),
    size: Annotated[tuple[int, int], Option("Resize every image.")] = (128, 64),
) -> Source:
    """List the images that have keypoints, with the identity and the camera in the name of each.

    Raises:
        DataError: when a name is not Market-1501's, or no image of the training split has keypoints.
    """
    files = open_files(path)
    known = read_keypoints(keypoints)
    splits: dict[str, list[Item]] = {split: [] for split in SPLITS.values()}
    left_out: list[str] = []
    for image in image_names(files.names):
        file = PurePosixPath(image)
        split = SPLITS.get(file.parent.name)
        if split is None:
            left_out.append(f"{image} lies in none of {', '.join(SPLITS)}")
            continue
        match = NAME.match(file.name)
        if match is None:
            raise DataError(f"{files.where}/{image}: not a name of Market-1501, such as 0002_c1s1_000451_03.jpg")
        identity, camera = int(match[1]), int(match[2])
        if identity == JUNK_IDENTITY:
            left_out.append(f"{image} is junk (identity -1)")
            continue
        if file.name not in known:
            left_out.append(f"{image} has no keypoints")
            continue
        numbers = {"person": identity, "camera": camera}
        splits[split].append(keypoint_item(files, image, f"{file.parent.name}/{file.stem}", known[file.name], size, numbers))
    if not splits["train"]:
        raise DataError(f"{path}: no image of bounding_box_train has keypoints in {', '.join(map(str, keypoints))}")
    return Source(
        name=name,
        fields={
            "image": image_field((3, *size)),
            "keypoints": KEYPOINTS_FIELD,
            "person": number_field("person"),
            "camera": number_field("camera"),
        },
        splits={split: items for split, items in splits.items() if items},
        licence="research only",
        origin="Zheng et al.: Scalable Person Re-identification: A Benchmark, ICCV 2015",
        left_out=[*files.left_out, *left_out, *_without_image(known, files.names)],
    )


def _without_image(known: Iterable[str], names: Iterable[str]) -> list[str]:
    there = {PurePosixPath(name).name for name in names}
    return [f"keypoints of {name}, which does not exist" for name in known if name not in there]


PACK = PackKind(read_market1501, example="~/Market-1501 --keypoints train.csv --keypoints test.csv")
