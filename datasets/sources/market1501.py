"""Market-1501: identities seen by six cameras, with 18 keypoints (Zheng et al., ICCV 2015).

SOURCE holds `bounding_box_train`, `bounding_box_test` and `query`. A batch holds `image`, `keypoints`, `person` (the
identity) and `camera`. The keypoint files may cover more or fewer images than there are. Distractors (person 0000) and junk
(-1) are no identities: they are left out, or packed as a split of their own, which is neither paired nor measured on.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import Size, image_names
from unbraid.datasets.raw.survey import survey
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.sources.keypoints import (
    KEYPOINT_SIZE_OPTION,
    KEYPOINTS_FIELD,
    KEYPOINTS_OPTION,
    find_keypoints,
    keypoint_item,
    number_field,
    read_keypoints,
)
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, image_field

NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_\d+_\d+(\.\w+)*")
DISTRACTORS_SPLIT = "distractors"
NOBODY = {-1: "junk images (person -1)", 0: "distractors (person 0000)"}
"""Numbers in the place of an identity: of detections that show no whole body, and of people who are none of the identities."""
SPLITS = {"bounding_box_train": "train", "bounding_box_test": "test", "query": "query"}
PUBLISHED_SIZE = (128, 64)


def read_market1501(
    path: Path,
    name: str,
    *,
    keypoints: Annotated[tuple[Path, ...], KEYPOINTS_OPTION] = (),
    keypoint_size: Annotated[Size | None, KEYPOINT_SIZE_OPTION] = None,
    size: Annotated[Size, Option("Resize every image.")] = PUBLISHED_SIZE,
    distractors: Annotated[bool, Option("Pack distractors and junk as the split `distractors`.")] = False,
) -> Source:
    """List the images that have keypoints, with the identity and the camera in the name of each.

    Raises:
        DataError: when a name is not Market-1501's, images are not as published, or no image of the training split has
            keypoints.
    """
    files, known, left_out = open_files(path), read_keypoints(keypoints), Tally()
    names = image_names(files, left_out)
    found = survey(files, names)
    if keypoint_size is None:
        found.require_size(PUBLISHED_SIZE, "Market-1501's images", "name the size that the keypoints are for, --keypoint-size")
    used: set[str] = set()
    splits: dict[str, list[Item]] = {split: [] for split in (*SPLITS.values(), DISTRACTORS_SPLIT)}
    for image in found.headers:
        if (file := PurePosixPath(image)).parent.name not in SPLITS:
            left_out.add(f"images outside of {', '.join(SPLITS)}", image)
            continue
        identity, camera = identity_and_camera(file.name, f"{files.where}/{image}")
        if identity in NOBODY and not distractors:
            left_out.add(f"{NOBODY[identity]}; --distractors packs them", image)
            continue
        split = DISTRACTORS_SPLIT if identity in NOBODY else SPLITS[file.parent.name]
        entry = find_keypoints(file.name, known)
        if entry is None:
            left_out.add("images without keypoints", image)
            continue
        used.add(entry)
        numbers, scale = {"person": identity, "camera": camera}, keypoint_size or PUBLISHED_SIZE
        key = f"{file.parent.name}/{file.name.partition('.')[0]}"
        splits[split].append(keypoint_item(files, image, key, known[entry], scale, size, numbers, str(identity)))
    if not splits["train"]:
        raise DataError(f"{path}: no image of bounding_box_train has keypoints in {', '.join(map(str, keypoints))}")
    left_out.add_all("lines of keypoints without a packed image", [entry for entry in known if entry not in used])
    numbered = {field: number_field(field) for field in ("person", "camera")}
    return Source(
        name=name,
        fields={"image": image_field((3, *size)), "keypoints": KEYPOINTS_FIELD} | numbered,
        splits={split: items for split, items in splits.items() if items},
        licence="research only",
        origin="Zheng et al.: Scalable Person Re-identification: A Benchmark, ICCV 2015",
        left_out=left_out,
        unusable=found.unusable,
        understood=[
            f"splits   {', '.join(f'{split} {len(items):,}' for split, items in splits.items())}: as published",
            *found.describe(list(found.headers), size),
        ],
    )


def identity_and_camera(name: str, where: str) -> tuple[int, int]:
    """Read identity and camera from the name of an image.

    Raises:
        DataError: when it is not a name of Market-1501's.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{where}: not a name of Market-1501, such as 0002_c1s1_000451_03.jpg")
    return int(match[1]), int(match[2])


PACK = PackKind(read_market1501, example="~/Market-1501 --keypoints train.csv --keypoints test.csv")
