"""Identities with 18 keypoints: the CSV in which pose estimators' users share them, and samples of an image with its keypoints.

Each line of the CSV is ``name:keypoints_y:keypoints_x``, the two lists as JSON, −1 where a point was not seen. A sample holds
them as float32 (18, 3): row, column, visible.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bounded

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files, UnusableSampleError
from unbraid.datasets.raw.images import Size, encode_array, fit_image
from unbraid.datasets.raw.lists import read_text, text_lines
from unbraid.datasets.raw.names import plain_names
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.kinds import Option
from unbraid.datasets.sources.source import Item, fingerprint
from unbraid.datasets.untrusted.documents import SHOWN, parse_json

KEYPOINTS = 18
Coordinates = Annotated[list[Annotated[float, Bounded(ge=-1e6, le=1e6)]], Bounded(min_length=KEYPOINTS, max_length=KEYPOINTS)]
KEYPOINTS_FIELD = Field("array", ("keypoints.npy",), (KEYPOINTS, 3))
KEYPOINTS_OPTION = Option("CSV of keypoints, name:[18 rows]:[18 columns] on each line; may be repeated.")
KEYPOINT_SIZE_OPTION = Option("Size of the images that the keypoints were found in, where these here have another.")


def read_keypoints(paths: Sequence[Path]) -> dict[str, NDArray[np.float32]]:
    """Read (18, 3) row, column, visible of each image, by the image's name.

    Raises:
        DataError: naming file, line and what is wrong there.
    """
    if not paths:
        raise DataError("no keypoints: name the CSV files (name:keypoints_y:keypoints_x) with --keypoints")
    keypoints: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        for number, line in text_lines(read_text(path)):
            parts = [part.strip() for part in line.split(":")]
            if parts[0] == "name":
                continue
            if len(parts) != 3:
                raise DataError(f"{path}: line {number}: expected name:[18 rows]:[18 columns], found {line[:SHOWN]!r}")
            name, rows, columns = parts
            try:
                found = _parsed(*(parse_json(part.encode(), Coordinates, name[:SHOWN]) for part in (rows, columns)))
            except DataError as error:
                raise DataError(f"{path}: line {number}: expected name:[18 rows]:[18 columns] ({error})") from None
            if not np.array_equal(keypoints.setdefault(name, found), found):
                raise DataError(f"{path}: line {number}: {name} is listed before, with other keypoints; take one line out")
    return keypoints


def find_keypoints(
    image: str, known: Mapping[str, NDArray[np.float32]], forms: Callable[[str], Sequence[str]] = plain_names
) -> str | None:
    """Return the name under which the keypoints of an image are listed, or None.

    Args:
        forms: the names by which a list may mean an image. A list of the published images names them ``.jpg``, whatever they
            have become here.
    """
    names = forms(image)
    return next((name for name in (*names, *(f"{name}.jpg" for name in names)) if name in known), None)


def keypoint_item(
    files: Files,
    name: str,
    key: str,
    keypoints: NDArray[np.float32],
    keypoint_size: Size,
    size: Size,
    numbers: Mapping[str, int],
    group: str,
) -> Item:
    """Describe a sample of an image, its keypoints and its numbers.

    Args:
        name: of the image in ``files``.
        key: of the sample.
        keypoints: (18, 3) in the pixels of an image of ``keypoint_size``; they follow the image when it is resized.
        size: (height, width) to store.
        numbers: by field, such as ``person``; stored as ``person.id``.
        group: of the sample.
    """
    members = {f"{field}.id": b"%d" % number for field, number in numbers.items()}
    decimal = {name: content.decode() for name, content in members.items()}
    mark = fingerprint(files.fingerprint(name), size, keypoint_size, keypoints.tolist(), decimal)
    load = partial(_members, files, name, keypoints, keypoint_size, size, members)
    return Item(key, load, mark, f"{files.where}/{name}", group)


def number_field(name: str) -> Field:
    """Describe one of the numbers of :func:`keypoint_item`."""
    return Field("integer", (f"{name}.id",))


def _parsed(rows: list[float], columns: list[float]) -> NDArray[np.float32]:
    keypoints = np.zeros((KEYPOINTS, 3), np.float32)
    keypoints[:, 0], keypoints[:, 1] = rows, columns
    keypoints[:, 2] = (keypoints[:, :2] >= 0).all(1)
    keypoints[keypoints[:, 2] == 0, :2] = -1
    return keypoints


def _members(
    files: Files,
    name: str,
    keypoints: NDArray[np.float32],
    keypoint_size: Size,
    size: Size,
    numbers: Mapping[str, bytes],
) -> Mapping[str, bytes]:
    """Encode one sample: keypoints are scaled with the image; those outside of it count as missing.

    Raises:
        UnusableSampleError: when none is inside.
    """
    where = f"{files.where}/{name}"
    extension, fitted = fit_image(files.read(name), where, size)
    moved = keypoints.copy()
    outside = (moved[:, :2] >= np.array(keypoint_size)).any(1)
    moved[outside] = (-1, -1, 0)
    seen = moved[:, 2] == 1
    if not seen.any():
        found = "none was found" if not outside.any() else "all found ones lie outside: are they for another size?"
        raise UnusableSampleError(f"{where}: no keypoint in {keypoint_size[0]}x{keypoint_size[1]} pixels ({found})")
    moved[seen, :2] *= np.array([size[0] / keypoint_size[0], size[1] / keypoint_size[1]], np.float32)
    return {extension: fitted, "keypoints.npy": encode_array(moved), **numbers}
