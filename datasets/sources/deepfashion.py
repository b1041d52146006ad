"""DeepFashion, in-shop clothes retrieval, with 18 keypoints (Liu et al., CVPR 2016).

SOURCE holds the in-shop images in any folders. A batch holds `image`, `keypoints` and `person` (the clothing item in one
colour, as the authors pair them). An image is named in a keypoint file by its path, its file name, or its path without
separators (`fashionMENDenimid…`). `list_eval_partition.txt` decides the split where it is there: train, and query and gallery
together as test. Else a hash of the item does. No item is in two splits.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import Size, image_names
from unbraid.datasets.raw.lists import decode_text, text_lines
from unbraid.datasets.raw.names import key_of, plain_names, split_by_hash
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

PARTITION_FILE = "list_eval_partition.txt"
SPLITS = {"train": "train", "query": "test", "gallery": "test"}
"""Of each word of the published partition: the split that is packed."""
TEST_SHARE = 0.1
UNKNOWN_ITEM = -1
"""The number of images whose path names no clothing item."""
_ITEM = re.compile(r"id_?(\d{8})/?(\d{2})(?=[_\d])")
"""``id_00000565/01_1_front.jpg``, joined to ``id0000056501_1front.jpg``: item 565 in its first colour, seen from the front."""
PUBLISHED_SIZE = (256, 256)


def read_deepfashion(
    path: Path,
    name: str,
    *,
    keypoints: Annotated[tuple[Path, ...], KEYPOINTS_OPTION] = (),
    keypoint_size: Annotated[Size | None, KEYPOINT_SIZE_OPTION] = None,
    size: Annotated[Size, Option("Resize every image.")] = PUBLISHED_SIZE,
) -> Source:
    """List the images that have keypoints, with the clothing item and its colour in the path of each as ``person``.

    The item 00000565 in the colour 01 is the person 56501.

    Raises:
        DataError: when there are no images, they are not as published, none has keypoints, or the list of splits cannot be
            read.
    """
    files = open_files(path)
    known = read_keypoints(keypoints)
    left_out, nameless = Tally(), Tally()
    names = image_names(files, left_out)
    found = survey(files, names)
    if keypoint_size is None:
        found.require_size(PUBLISHED_SIZE, "the in-shop images", "name the size that the keypoints are for, --keypoint-size")
    listed = _read_partition(files)
    splits: dict[str, list[Item]] = {}
    for image in found.headers:
        forms = _listed_forms(image)
        entry = find_keypoints(image, known, _listed_forms)
        if entry is None:
            left_out.add("images without keypoints", image)
            continue
        split = next((listed[form] for form in forms if form in listed), None)
        if listed and split is None:
            left_out.add(f"images that {PARTITION_FILE} does not name", image)
            continue
        person, group = _item_of(image)
        if person == UNKNOWN_ITEM:
            nameless.add("images whose path names no item and colour (packed, but paired with no other)", image)
        key, scale = key_of(str(PurePosixPath(image).with_suffix(""))), keypoint_size or PUBLISHED_SIZE
        packed = keypoint_item(files, image, key, known[entry], scale, size, {"person": person}, group)
        splits.setdefault(SPLITS[split] if split else split_by_hash(group, TEST_SHARE), []).append(packed)
    if not splits:
        raise DataError(f"{path}: none of {len(names)} images has keypoints in {', '.join(map(str, keypoints))}")
    by = f"as in {PARTITION_FILE}" if listed else f"by a hash of the item, {TEST_SHARE:.0%} are test"
    return Source(
        name=name,
        fields={"image": image_field((3, *size)), "keypoints": KEYPOINTS_FIELD, "person": number_field("person")},
        splits=splits,
        licence="non-commercial research only",
        origin="Liu et al.: DeepFashion, in-shop clothes retrieval, CVPR 2016",
        left_out=left_out,
        unusable=found.unusable,
        understood=[
            f"splits   {', '.join(f'{split} {len(items):,}' for split, items in splits.items())}: {by}",
            *(f"unpaired {line}" for line in nameless),
            *found.describe(list(found.headers), size),
        ],
    )


def _item_of(image: str) -> tuple[int, str]:
    """Return the person that an image shows, and the group of all images of its clothing item."""
    match = _ITEM.search(image)
    return (int(match[1] + match[2]), match[1]) if match else (UNKNOWN_ITEM, image)


def _listed_forms(name: str) -> tuple[str, ...]:
    """Return the names by which lists may mean an image: every tail of its path, with and without separators."""
    tails = plain_names(name)
    joined = [tail.replace("/", "") for tail in tails]
    return (*tails, *joined, *(f"fashion{tail.replace('_', '')}" for tail in joined))


def _read_partition(files: Files) -> dict[str, str]:
    """Read the split (train, query or gallery) of each listed image, where there is a list.

    Raises:
        DataError: naming the line that is not ``IMAGE ITEM SPLIT``, or when there are fewer lines than the first one says.
    """
    name = next((n for n in files.names if PurePosixPath(n).name == PARTITION_FILE), None)
    if name is None:
        return {}
    where = f"{files.where}/{name}"
    listed: dict[str, str] = {}
    count = None
    for number, line in text_lines(decode_text(files.read(name), where)):
        cells = line.split()
        if number == 1 and len(cells) == 1 and cells[0].isdigit():
            count = int(cells[0])
        elif cells[0] == "image_name":
            continue
        elif len(cells) != 3 or cells[2] not in SPLITS:
            raise DataError(f"{where}: line {number}: expected IMAGE ITEM and {', '.join(SPLITS)}, found {line[:80]!r}")
        elif listed.setdefault(cells[0], cells[2]) != cells[2]:
            raise DataError(f"{where}: line {number}: {cells[0]} is listed in two splits")
    if not listed:
        raise DataError(f"{where}: names no image; fetch it again, or remove it to split by a hash of the item")
    if count is not None and len(listed) != count:
        raise DataError(f"{where}: says that it has {count:,} images, and names {len(listed):,}: is it cut off?")
    return listed


PACK = PackKind(read_deepfashion, example="~/in-shop --keypoints fashion.csv --size 256x256")
