"""Pairs of images of two domains: side by side in one file, or in two folders under equal names.

Where SOURCE has folders ``A`` and ``B`` (or ``trainA`` and ``trainB``, …), images of equal names are pairs; else every image
holds two, X on the left and Y on the right. A batch holds ``x`` and ``y``; a grey image of a pair is shown in colour.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.codec import image_shape
from unbraid.datasets.sources.files import Files, open_files
from unbraid.datasets.sources.images import common_shape, fit_image, image_names
from unbraid.datasets.sources.kinds import Option, PackKind, name_of_path
from unbraid.datasets.sources.source import (
    SPLIT_FOLDERS,
    Item,
    Source,
    UnusableSampleError,
    fingerprint,
    image_field,
    key_of,
    split_of,
)


def read_pairs(
    path: Path,
    name: str,
    *,
    size: Annotated[tuple[int, int] | None, Option("Resize every image.")] = None,
    test_share: Annotated[float, Option("Share of the test split, where no folder names the split.", 0, 1)] = 0.1,
) -> Source:
    """List the pairs of images below ``path``.

    Raises:
        DataError: when there are no images, or no pairs.
    """
    files = open_files(path)
    images = image_names(files.names)
    sides = {image: _side(image) for image in images}
    left_out: list[str] = []
    if any(side is not None for side in sides.values()):
        shape = common_shape(files.read, images, files.where)
        pairs, left_out = _matched(images)
        loads = {key: partial(_two_files, files, x, y, size) for key, (x, y) in pairs.items()}
        marks = {key: fingerprint(files.fingerprint(x), files.fingerprint(y), size) for key, (x, y) in pairs.items()}
    else:
        whole = common_shape(files.read, images, files.where)
        shape = (whole[0], whole[1], whole[2] // 2) if whole else None
        loads = {image: partial(_two_halves, files, image, size) for image in images}
        marks = {image: fingerprint(files.fingerprint(image), size) for image in images}
    if size is not None:
        shape = (shape[0] if shape else 3, *size)
    splits: dict[str, list[Item]] = {}
    for key, load in loads.items():
        splits.setdefault(split_of(key, test_share), []).append(Item(key_of(key), load, marks[key]))
    if not splits:
        raise DataError(f"{path}: no pairs: {'; '.join(left_out[:3])}")
    fields = {"x": image_field(shape, "x."), "y": image_field(shape, "y.")}
    return Source(name, fields, splits, origin=files.where, left_out=[*files.left_out, *left_out])


def _side(name: str) -> str | None:
    """Return ``A`` or ``B`` where a folder on the path ends in it: A, trainA, test/B."""
    for part in PurePosixPath(name).parent.parts:
        stem = part[:-1].lower()
        if part[-1:] in ("A", "B") and (not stem or stem in SPLIT_FOLDERS):
            return part[-1]
    return None


def _matched(images: list[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Match images by the common part of their paths; also describe those without a partner."""
    found: dict[str, dict[str, str]] = {}
    for image in images:
        side = _side(image)
        if side is not None:
            parts = [p[:-1] if _side(f"{p}/x") else p for p in PurePosixPath(image).with_suffix("").parts]
            found.setdefault("/".join(p for p in parts if p), {})[side] = image
    pairs = {key: (sides["A"], sides["B"]) for key, sides in found.items() if len(sides) == 2}
    alone = [image for sides in found.values() if len(sides) == 1 for image in sides.values()]
    return pairs, [f"{image} has no partner of the same name in the other folder" for image in alone]


def _two_files(files: Files, x: str, y: str, size: tuple[int, int] | None) -> Mapping[str, bytes]:
    members = {}
    for prefix, name in (("x", x), ("y", y)):
        extension, content = fit_image(files.read(name), f"{files.where}/{name}", size)
        members[f"{prefix}.{extension}"] = content
    return members


def _two_halves(files: Files, name: str, size: tuple[int, int] | None) -> Mapping[str, bytes]:
    content, where = files.read(name), f"{files.where}/{name}"
    try:
        _, height, width = image_shape(content)
    except ValueError as error:
        raise UnusableSampleError(f"{where}: not a PNG or JPEG ({error})") from None
    if width % 2:
        raise UnusableSampleError(f"{where}: is {width} pixels wide, which are not two equal halves")
    half = width // 2
    members = {}
    for prefix, box in (("x", (0, 0, half, height)), ("y", (half, 0, width, height))):
        extension, part = fit_image(content, where, size, box)
        members[f"{prefix}.{extension}"] = part
    return members


PACK = PackKind(read_pairs, example="~/facades s3://bucket/sets/facades --size 256x256", default_name=name_of_path)
