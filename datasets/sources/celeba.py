"""CelebA, aligned and cropped, with its 40 attributes (Liu et al., ICCV 2015).

SOURCE holds ``img_align_celeba`` (a folder, or ``img_align_celeba.zip``), ``list_attr_celeba.txt`` and
``list_eval_partition.txt``. A batch holds ``image``, cut to the face and resized, and ``attributes`` (0 or 1).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.files import Files, open_files
from unbraid.datasets.sources.images import encode_array, fit_image
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field

ATTRIBUTES_FILE = "list_attr_celeba.txt"
PARTITION_FILE = "list_eval_partition.txt"
PARTITIONS = {"0": "train", "1": "valid", "2": "test"}
FACE = (15, 40, 163, 188)
"""(left, top, right, bottom) of the usual crop of the face: the central 148x148 of a 178x218 image, five pixels lower."""


def read_celeba(
    folder: Path, name: str, *, size: Annotated[tuple[int, int], Option("Resize every face.")] = (64, 64)
) -> Source:
    """List the images that both lists name; the second list decides the splits.

    Raises:
        DataError: when a list or the images are missing, or a list is not CelebA's.
    """
    archive = next((p for p in (folder / "img_align_celeba", folder / "img_align_celeba.zip") if p.exists()), None)
    if archive is None:
        raise DataError(f"{folder}: neither img_align_celeba nor img_align_celeba.zip is there")
    files = open_files(archive)
    images = {name.rpartition("/")[2]: name for name in files.names if name.endswith(".jpg")}
    attribute_names, attributes = _read_attributes(folder / ATTRIBUTES_FILE)
    splits: dict[str, list[Item]] = {}
    left_out: list[str] = []
    for image, partition in _read_partition(folder / PARTITION_FILE).items():
        if image not in images:
            left_out.append(f"{image} is in {PARTITION_FILE} but not in {files.where}")
            continue
        if image not in attributes:
            left_out.append(f"{image} has no line in {ATTRIBUTES_FILE}")
            continue
        load = partial(_members, files, images[image], size, attributes[image])
        mark = fingerprint(files.fingerprint(images[image]), size, attributes[image])
        splits.setdefault(PARTITIONS[partition], []).append(Item(image.removesuffix(".jpg"), load, mark))
    return Source(
        name=name,
        fields={
            "image": image_field((3, *size)),
            "attributes": Field("array", ("attributes.npy",), (len(attribute_names),)),
        },
        splits=splits,
        licence="non-commercial research only",
        origin="Liu et al.: Deep Learning Face Attributes in the Wild, ICCV 2015",
        attributes=attribute_names,
        left_out=[*files.left_out, *left_out],
    )


def _members(files: Files, name: str, size: tuple[int, int], attributes: tuple[int, ...]) -> Mapping[str, bytes]:
    extension, content = fit_image(files.read(name), f"{files.where}/{name}", size, FACE)
    return {extension: content, "attributes.npy": encode_array(attributes)}


def _read_attributes(path: Path) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Read the names of the attributes, and each image's values: 1 for yes, 0 for no (-1 in the file)."""
    lines = _lines(path)
    try:
        names = tuple(lines[1].split())
        rows = {}
        for line in lines[2:]:
            image, *values = line.split()
            rows[image] = tuple(int(v == "1") for v in values)
            if len(values) != len(names) or not set(values) <= {"1", "-1"}:
                raise ValueError(f"the line of {image} does not have {len(names)} values of 1 or -1")
    except (IndexError, ValueError) as error:
        raise DataError(f"{path}: not CelebA's list of attributes ({error})") from None
    return names, rows


def _read_partition(path: Path) -> dict[str, str]:
    """Read the number of each image's split, a key of ``PARTITIONS``."""
    try:
        partition = dict(line.split() for line in _lines(path))
    except ValueError as error:
        raise DataError(f"{path}: expected IMAGE PARTITION on each line ({error})") from None
    if not set(partition.values()) <= set(PARTITIONS):
        raise DataError(f"{path}: partitions must be 0, 1 or 2, found {', '.join(sorted(set(partition.values())))}")
    return partition


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; put CelebA's lists beside its images") from None


PACK = PackKind(read_celeba, example="~/celeba --size 128x128")
