"""Any folder (or zip, or tar) of images, with labels from subfolders and attributes from a CSV where they exist."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.files import Files, open_files
from unbraid.datasets.sources.source import (
    IMAGE_SUFFIXES,
    Item,
    Source,
    common_shape,
    encode_array,
    fingerprint,
    fit_image,
    image_field,
    label_field,
    split_of,
)


@dataclass(frozen=True)
class FolderOptions:
    """How a folder is to be read.

    Attributes:
        size: (height, width) that every image is fitted to; None keeps them as they are.
        labels: the name of an image's folder is its class.
        attributes: a CSV with a header: the first column names the image, a column ``split`` its split, every other one is a
            number.
        split_list: a text file with one ``NAME SPLIT`` a line.
        test_share: of the images whose split nothing else tells, chosen by a hash of the name.
    """

    size: tuple[int, int] | None = None
    labels: bool = False
    attributes: Path | None = None
    split_list: Path | None = None
    test_share: float = 0.1


def read_folder(path: Path, name: str, options: FolderOptions) -> Source:
    """Every PNG and JPEG below ``path``.

    An image's split is told by ``split_list``, else the CSV, else a folder ``train``, ``test`` or ``val`` on its path, else
    a hash of its name.

    Raises:
        DataError: when there are no images, or a list or CSV names images that do not exist.
    """
    files = open_files(path)
    images = [n for n in files.names if n.lower().endswith(IMAGE_SUFFIXES)]
    shape = common_shape(files.read, images, files.where)
    if options.size is not None:
        shape = (shape[0] if shape else 3, *options.size)
    columns, rows = _read_attributes(options.attributes) if options.attributes else ((), {})
    listed = _read_split_list(options.split_list) if options.split_list else {}
    for origin, names in ((options.attributes, rows), (options.split_list, listed)):
        _require_images(origin, names, images)
    classes = tuple(sorted({_label(n) for n in images})) if options.labels else ()
    splits: dict[str, list[Item]] = {}
    left_out: list[str] = []
    for image in images:
        row = rows.get(image, rows.get(PurePosixPath(image).name))
        if columns and row is None:
            left_out.append(f"{image} has no line in {options.attributes}")
            continue
        members: dict[str, bytes] = {}
        if classes:
            members["cls"] = b"%d" % classes.index(_label(image))
        if columns and row is not None:
            members["attributes.npy"] = encode_array([float(row[c]) for c in columns])
        told = listed.get(image, listed.get(PurePosixPath(image).name)) or (row or {}).get("split")
        split = told or split_of(image, options.test_share)
        load = partial(_members, files, image, options.size, members)
        mark = fingerprint(files.fingerprint(image), options.size, {name: content.hex() for name, content in members.items()})
        splits.setdefault(split, []).append(Item(key_of(image), load, mark))
    fields: dict[str, Field] = {"image": image_field(shape)}
    if classes:
        fields["label"] = label_field()
    if columns:
        fields["attributes"] = Field("array", ("attributes.npy",), (len(columns),))
    return Source(name, fields, splits, classes=classes, attributes=columns, origin=files.where, left_out=left_out)


def key_of(name: str) -> str:
    """A sample's key from its file's name: ``cat/1.jpg`` → ``cat/1_jpg``. A dot would begin an extension."""
    return name.replace(".", "_")


def _members(files: Files, name: str, size: tuple[int, int] | None, others: Mapping[str, bytes]) -> Mapping[str, bytes]:
    extension, content = fit_image(files.read(name), f"{files.where}/{name}", size)
    return {extension: content, **others}


def _label(name: str) -> str:
    return PurePosixPath(name).parent.name or "none"


def _read_attributes(path: Path) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    """Names of the number columns, and each image's line."""
    lines = csv.DictReader(io.StringIO(_read_text(path)))
    header = list(lines.fieldnames or [])
    columns = tuple(c for c in header[1:] if c != "split")
    if not columns:
        raise DataError(f"{path}: expected a header with the image's name first and at least one attribute, found {header}")
    rows = {}
    for number, line in enumerate(lines, 2):
        for column in columns:
            try:
                float(line[column])
            except (TypeError, ValueError):
                raise DataError(f"{path}: line {number}, {column}: {line[column]!r} is not a number") from None
        rows[line[header[0]]] = line
    return columns, rows


def _read_split_list(path: Path) -> dict[str, str]:
    listed = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        name, _, split = line.strip().rpartition(" ")
        if not name or not split.isidentifier():
            raise DataError(f"{path}: line {number}: expected NAME SPLIT, found {line!r}")
        listed[name.strip()] = split
    return listed


def _require_images(origin: Path | None, names: Mapping[str, object], images: Sequence[str]) -> None:
    known = {*images, *(PurePosixPath(image).name for image in images)}
    missing = [name for name in names if name not in known]
    if missing:
        raise DataError(
            f"{origin}: names {len(missing)} images that do not exist, such as {missing[0]}; take their lines out, or add them"
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
