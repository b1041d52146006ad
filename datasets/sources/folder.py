"""Any images in a folder, a zip or a tar.

Every PNG and JPEG below SOURCE is packed. An image's split comes from the list of splits, else from the CSV, else from a folder
``train``, ``test`` or ``val`` on its path, else from a hash of its name. A batch holds ``image``, and ``label`` and
``attributes`` where they are asked for.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.files import Files, open_files
from unbraid.datasets.sources.images import common_shape, encode_array, fit_image, image_names
from unbraid.datasets.sources.kinds import Option, PackKind, name_of_path
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field, key_of, label_field, split_of


def read_folder(
    path: Path,
    name: str,
    *,
    size: Annotated[tuple[int, int] | None, Option("Resize every image.")] = None,
    labels: Annotated[bool, Option("Take the name of an image's folder as its class.")] = False,
    attributes: Annotated[
        Path | None, Option("CSV with a header: the image's name first, a column split if there is one, numbers.")
    ] = None,
    split_list: Annotated[Path | None, Option("Text file, NAME SPLIT on each line.")] = None,
    test_share: Annotated[float, Option("Share of the test split, where nothing names the split.", 0, 1)] = 0.1,
) -> Source:
    """List every PNG and JPEG below ``path``.

    Raises:
        DataError: when there are no images, or a list or CSV names images that do not exist.
    """
    files = open_files(path)
    images = image_names(files.names)
    shape = common_shape(files.read, images, files.where)
    if size is not None:
        shape = (shape[0] if shape else 3, *size)
    columns, rows = _read_attributes(attributes) if attributes else ((), {})
    listed = _read_split_list(split_list) if split_list else {}
    for origin, names in ((attributes, rows), (split_list, listed)):
        _require_images(origin, names, images)
    classes = tuple(sorted({_label(n) for n in images})) if labels else ()
    splits: dict[str, list[Item]] = {}
    left_out: list[str] = []
    for image in images:
        row = rows.get(image, rows.get(PurePosixPath(image).name))
        if columns and row is None:
            left_out.append(f"{image} has no line in {attributes}")
            continue
        members: dict[str, bytes] = {}
        if classes:
            members["cls"] = b"%d" % classes.index(_label(image))
        if columns and row is not None:
            members["attributes.npy"] = encode_array([float(row[c]) for c in columns])
        named = listed.get(image, listed.get(PurePosixPath(image).name)) or (row or {}).get("split")
        split = named or split_of(image, test_share)
        load = partial(_members, files, image, size, members)
        mark = fingerprint(files.fingerprint(image), size, {member: content.hex() for member, content in members.items()})
        splits.setdefault(split, []).append(Item(key_of(image), load, mark))
    fields: dict[str, Field] = {"image": image_field(shape)}
    if classes:
        fields["label"] = label_field()
    if columns:
        fields["attributes"] = Field("array", ("attributes.npy",), (len(columns),))
    return Source(
        name, fields, splits, classes=classes, attributes=columns, origin=files.where, left_out=[*files.left_out, *left_out]
    )


def _members(files: Files, name: str, size: tuple[int, int] | None, others: Mapping[str, bytes]) -> Mapping[str, bytes]:
    extension, content = fit_image(files.read(name), f"{files.where}/{name}", size)
    return {extension: content, **others}


def _label(name: str) -> str:
    return PurePosixPath(name).parent.name or "none"


def _read_attributes(path: Path) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    """Read the names of the number columns, and each image's line."""
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
    """Read the split of each listed image."""
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


PACK = PackKind(read_folder, example="~/photos.zip s3://bucket/sets/photos --size 64x64 --labels", default_name=name_of_path)
