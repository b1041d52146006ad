"""People with 18 keypoints: Market-1501 (Zheng et al., ICCV 2015) and DeepFashion in-shop (Liu et al., CVPR 2016).

Keypoints come as the CSV that pose estimators' users share: ``name:keypoints_y:keypoints_x``, the two lists as JSON, -1 where a
point was not seen. A sample holds them as float32 (18, 3): row, column, visible.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.files import open_files
from unbraid.datasets.sources.keypoints import KEYPOINTS_FIELD, _images, _item, _unmatched, read_keypoints
from unbraid.datasets.sources.source import (
    Item,
    Source,
    image_field,
)

MARKET_NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_\d+_\d+")
MARKET_SPLITS = {"bounding_box_train": "train", "bounding_box_test": "test", "query": "query"}
JUNK_PERSON = -1
"""Market-1501's detections that are no whole person; not packed. Person 0 are distractors: packed, nobody trains on them."""


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
