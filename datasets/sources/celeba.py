"""CelebA, aligned and cropped, with its 40 attributes (Liu et al., ICCV 2015).

SOURCE holds `img_align_celeba` (a folder, or `img_align_celeba.zip`), `list_attr_celeba` and `list_eval_partition` (.txt as
published, or .csv). A batch holds `image`, cut to the face and resized, and `attributes` (0 or 1).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files
from unbraid.datasets.raw.files import find_entry, open_files
from unbraid.datasets.raw.images import Size, encode_array, fit_image, image_names
from unbraid.datasets.raw.lists import read_table, read_text, text_lines
from unbraid.datasets.raw.survey import survey
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field

ATTRIBUTES_FILE = "list_attr_celeba"
PARTITION_FILE = "list_eval_partition"
IMAGE_FOLDERS = ("img_align_celeba", "img_align_celeba.zip", "img_align_celeba_png", "img_align_celeba_png.zip")
PARTITIONS = {"0": "train", "1": "validation", "2": "test"}
PUBLISHED_SIZE = (218, 178)
FACE = (15, 40, 163, 188)
"""(left, top, right, bottom) of the usual crop of the face: the central 148x148 of a 178x218 image, five pixels lower."""

_Line = tuple[int, list[str]]
"""Number and cells of a line."""


def read_celeba(folder: Path, name: str, *, size: Annotated[Size, Option("Resize every face.")] = (64, 64)) -> Source:
    """List the images that both lists name; the second list decides the splits.

    Raises:
        DataError: when a list or the images are missing, a list is not CelebA's, or the images have another size.
    """
    files = open_files(find_entry(folder, IMAGE_FOLDERS, f"{folder}: none of {', '.join(IMAGE_FOLDERS)} is there"))
    left_out = Tally()
    names = image_names(files, left_out)
    found = survey(files, names)
    found.require_size(PUBLISHED_SIZE, "CelebA's aligned images", "pack cropped or resized copies with `data pack folder`")
    images = _by_number(names, files.where)
    attribute_names, attributes = _read_attributes(_list(folder, ATTRIBUTES_FILE))
    splits: dict[str, list[Item]] = {}
    for image, split in _read_partition(_list(folder, PARTITION_FILE)).items():
        if image not in images:
            left_out.add(f"lines of {PARTITION_FILE} without an image", image)
            continue
        if image not in attributes:
            left_out.add(f"images without a line in {ATTRIBUTES_FILE}", image)
            continue
        file = images[image]
        if file not in found.headers:
            continue  # unusable, which is reported
        load = partial(_members, files, file, size, attributes[image])
        mark = fingerprint(files.fingerprint(file), size, attributes[image])
        splits.setdefault(split, []).append(Item(image, load, mark, f"{files.where}/{file}"))
    listed = {item.key for items in splits.values() for item in items}
    for number, file in images.items():
        if number not in listed and file in found.headers and number not in attributes:
            left_out.add("images that no list names", file)
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
        left_out=left_out,
        unusable=found.unusable,
        understood=[
            f"splits   {', '.join(f'{split} {len(items):,}' for split, items in splits.items())}: as in {PARTITION_FILE}",
            f"faces    cut out as {FACE[3] - FACE[1]}x{FACE[2] - FACE[0]} pixels, resized to {size[0]}x{size[1]}",
        ],
    )


def _members(files: Files, name: str, size: Size, attributes: tuple[int, ...]) -> Mapping[str, bytes]:
    extension, content = fit_image(files.read(name), f"{files.where}/{name}", size, FACE)
    return {extension: content, "attributes.npy": encode_array(attributes)}


def _number(name: str) -> str:
    """Return the number of an image, by which lists and files agree whatever their suffixes: ``000001.jpg`` → ``000001``."""
    return PurePosixPath(name.strip()).name.partition(".")[0]


def _by_number(names: Sequence[str], where: str) -> dict[str, str]:
    images: dict[str, str] = {}
    for name in names:
        other = images.setdefault(_number(name), name)
        if other != name:
            raise DataError(f"{where}: {other} and {name} are the same image of CelebA; take one of them out")
    return images


def _list(folder: Path, name: str) -> Path:
    """Find a list as published, or as a table.

    Raises:
        DataError: when it is not there.
    """
    missing = f"{folder / name}.txt: no such file (nor .csv); put CelebA's lists beside its images"
    return find_entry(folder, (f"{name}.txt", f"{name}.csv"), missing)


def _lines(path: Path) -> tuple[list[str], list[_Line]]:
    """Read the header's cells (none for a list without a header) and the lines of a list.

    Raises:
        DataError: when the list has fewer lines than its first line says.
    """
    if path.suffix == ".csv":
        table = read_table(path)
        return list(table.header), [(row.number, list(row.cells)) for row in table.rows]
    lines = [(number, line.split()) for number, line in text_lines(read_text(path))]
    if not lines or len(lines[0][1]) != 1 or not lines[0][1][0].isdigit():
        return [], lines
    count = int(lines[0][1][0])
    if len(lines) - 2 != count:
        raise DataError(f"{path}: says that it has {count:,} images, and has {len(lines) - 2:,} lines of them: is it cut off?")
    return lines[1][1], lines[2:]


def _read_attributes(path: Path) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Read the names of the attributes, and each image's values: 1 for yes, 0 for no (-1 or 0 in the file)."""
    header, lines = _lines(path)
    names = tuple(header[1:] if path.suffix == ".csv" else header)
    if not names:
        raise DataError(f"{path}: not CelebA's list of attributes: expected a count, a line of names, and a line an image")
    rows: dict[str, tuple[int, ...]] = {}
    for number, (image, *values) in lines:
        if len(values) != len(names) or not set(values) <= {"1", "-1", "0"}:
            raise DataError(f"{path}: line {number}: expected {image} and {len(names)} values of 1 or -1, found {len(values)}")
        if _number(image) in rows:
            raise DataError(f"{path}: line {number}: {image} is listed twice")
        rows[_number(image)] = tuple(int(value == "1") for value in values)
    return names, rows


def _read_partition(path: Path) -> dict[str, str]:
    """Read the split of each image, by the image's number."""
    partition: dict[str, str] = {}
    for number, cells in _lines(path)[1]:
        if len(cells) != 2 or cells[1] not in PARTITIONS:
            raise DataError(f"{path}: line {number}: expected IMAGE and 0, 1 or 2, found {' '.join(cells)[:80]!r}")
        if _number(cells[0]) in partition:
            raise DataError(f"{path}: line {number}: {cells[0]} is listed twice")
        partition[_number(cells[0])] = PARTITIONS[cells[1]]
    if not partition:
        raise DataError(f"{path}: names no image; expected IMAGE and 0, 1 or 2 on each line")
    return partition


PACK = PackKind(read_celeba, example="~/celeba --size 128x128")
