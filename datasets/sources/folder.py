"""Any images in a folder, a zip or a tar.

Every PNG, JPEG, WebP, BMP, GIF, TIFF and PPM below SOURCE is packed; what is left out is counted. Folders called train, test,
val and the like name the split, the others below them the class, with --labels. A batch holds `image`, and `label` and
`attributes` where they are asked for.
"""

import csv
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import Size, encode_array, fit_image, image_names, parse_colour
from unbraid.datasets.raw.lists import parse_number, read_table, read_text, text_lines
from unbraid.datasets.raw.names import (
    SPLIT_WORDS,
    Layout,
    NameMatcher,
    key_of,
    name_splits,
    read_layout,
    require_images,
    split_by_hash,
    split_word,
)
from unbraid.datasets.raw.survey import survey
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.pixels import Colour
from unbraid.datasets.sources.kinds import Option, PackKind, name_of_path
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field, label_field

SIZE_OPTION = Option("Resize every image.")
ANY_SIZE_OPTION = Option("Keep images of several sizes; training then resizes them, by data.fit.")
BACKGROUND_OPTION = Option("Colour behind transparent pixels, such as white or #ff8000.")
TEST_SHARE_OPTION = Option("Share of the test split, where nothing names the split.", 0, 1)
FOLLOW_LINKS_OPTION = Option("Follow links that lead out of SOURCE too: for a folder that you have made yourself.")
SHOWN_CLASSES = 8


def read_folder(
    path: Path,
    name: str,
    *,
    size: Annotated[Size | None, SIZE_OPTION] = None,
    any_size: Annotated[bool, ANY_SIZE_OPTION] = False,
    background: Annotated[str, BACKGROUND_OPTION] = "white",
    labels: Annotated[bool, Option("Take the folders that an image lies in as its class, such as cat/left.")] = False,
    label_level: Annotated[
        int | None, Option("With --labels: which of these folders alone is the class, 1 the outermost.", 1)
    ] = None,
    attributes: Annotated[
        Path | None, Option("CSV with a header: the image's name first, a column split if there is one, numbers.")
    ] = None,
    split_list: Annotated[Path | None, Option("Text file, NAME SPLIT on each line.")] = None,
    test_share: Annotated[float, TEST_SHARE_OPTION] = 0.1,
    follow_links: Annotated[bool, FOLLOW_LINKS_OPTION] = False,
) -> Source:
    """List every image below ``path``.

    An image's split comes from the list of splits, else from the CSV, else from a folder, else from a hash of its name.

    Raises:
        DataError: when there are no images, they cannot make a batch, or a list or CSV does not fit them.
    """
    colour, files, left_out = read_colour(background), open_files(path, follow_links), Tally()
    names = image_names(files, left_out)
    found = survey(files, names)
    table = _read_attributes(attributes, names) if attributes else None
    listed = _read_split_list(split_list, names) if split_list else table.splits if table else {}
    layout = read_layout(names)
    images = [image for image in found.headers if _is_used(image, table, listed, layout, left_out)]
    label_of = _labels(images, layout, label_level) if labels else {}
    classes = _ordered(set(label_of.values()))
    number_of = {label: number for number, label in enumerate(classes)}
    splits: dict[str, list[Item]] = {}
    for image in images:
        others = _other_members(number_of.get(label_of.get(image, "")), table.numbers[image] if table else None)
        split = listed.get(image) or layout.splits.get(image) or split_by_hash(image, test_share)
        mark = fingerprint(files.fingerprint(image), size, colour, {name: content.hex() for name, content in others.items()})
        load = partial(_members, files, image, size, colour, others)
        splits.setdefault(split, []).append(Item(key_of(image), load, mark, f"{files.where}/{image}"))
    fields = {"image": image_field(found.shape(images, size, any_size))} | ({"label": label_field()} if classes else {})
    if table is not None:
        fields["attributes"] = Field("array", ("attributes.npy",), (len(table.columns),))
    understood = [*_describe_splits(splits, layout, bool(listed), test_share), *_describe_classes(label_of, layout)]
    return Source(
        name,
        fields,
        splits,
        classes=classes,
        attributes=table.columns if table else (),
        origin=files.where,
        left_out=left_out,
        unusable=found.unusable,
        understood=understood + found.describe(images, size, colour),
    )


def read_colour(text: str) -> Colour:
    """Read the option ``--background``.

    Raises:
        DataError: when it is no colour.
    """
    try:
        return parse_colour(text)
    except ValueError:
        raise DataError(f"--background {text}: is not a colour; write white, black or #ff8000, for instance") from None


def describe_hash(splits: Mapping[str, Sequence[Item]], test_share: float) -> str:
    """Say which splits a hash of the names has made."""
    counts = ", ".join(f"{split} {len(items):,}" for split, items in sorted(splits.items()))
    return f"splits   {counts}: by a hash of each name, {test_share:.0%} are test"


def describe_folders(splits: Mapping[str, Sequence[Item]], words: Mapping[str, str]) -> str:
    """Say which folders have named the splits."""
    named = {split: [word for word, meant in words.items() if meant == split] for split in splits}
    counts = [
        f"{split} {len(items):,} ({'folder ' + ', '.join(named[split]) if named[split] else 'no folder'})"
        for split, items in sorted(splits.items())
    ]
    return f"splits   {', '.join(counts)}"


@dataclass(frozen=True)
class _Attributes:
    """A CSV of attributes.

    Attributes:
        columns: names of the numbers.
        numbers: of each listed image.
        splits: of each listed image, where the CSV has a column ``split``.
    """

    columns: tuple[str, ...]
    numbers: Mapping[str, tuple[float, ...]]
    splits: Mapping[str, str]


def _is_used(image: str, table: _Attributes | None, listed: Mapping[str, str], layout: Layout, left_out: Tally) -> bool:
    """Return whether an image is packed; count it otherwise."""
    if table is not None and image not in table.numbers:
        left_out.add("images without a line in the CSV of attributes", image)
    elif listed and image not in listed:
        left_out.add("images that the list of splits does not name", image)
    elif not listed and layout.splits and image not in layout.splits:
        left_out.add(f"images outside of the folders of splits ({', '.join(layout.words)})", image)
    else:
        return True
    return False


def _labels(images: Sequence[str], layout: Layout, level: int | None) -> dict[str, str]:
    """Return the class of each image.

    Raises:
        DataError: when an image lies in no class's folder, or all lie in one.
    """
    if not any(layout.folders.values()) and layout.shared:
        raise DataError(
            f"--labels: all images are of one class, {layout.shared[-1]}: there is nothing to tell apart; leave --labels out"
        )
    labels = {}
    for image in images:
        folders = layout.folders[image] if level is None else layout.folders[image][level - 1 : level]
        if not folders:
            splits = f" ({', '.join(layout.words)}: splits, no classes)" if layout.words else ""
            where = "no class's folder" if level is None else f"fewer than {level} folders"
            raise DataError(f"--labels: {image} lies in {where}{splits}; move it into one, or leave --labels out")
        labels[image] = "/".join(folders)
    if len(set(labels.values())) == 1:
        raise DataError(
            f"--labels: all images are of one class, {next(iter(labels.values()))}: there is nothing to tell apart; "
            "leave --labels out"
        )
    return labels


def _ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Order classes by name, or by number where all names are numbers: 10 after 2."""
    names = sorted(labels)
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else names)


def _describe_splits(splits: Mapping[str, Sequence[Item]], layout: Layout, listed: bool, test_share: float) -> list[str]:
    doubted = [
        f"splits   folder {folder} is not taken for a split: it lies beside folders that name none" for folder in layout.doubted
    ]
    if listed:
        counts = ", ".join(f"{split} {len(items):,}" for split, items in sorted(splits.items()))
        return [f"splits   {counts}: as listed", *doubted]
    if layout.words:
        return [describe_folders(splits, layout.words), *doubted]
    return [describe_hash(splits, test_share), *doubted]


def _describe_classes(label_of: Mapping[str, str], layout: Layout) -> list[str]:
    counts = Counter(label_of.values())
    if not counts:
        return []
    shown = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())[:SHOWN_CLASSES])
    more = ", …" if len(counts) > SHOWN_CLASSES else ""
    lines = [f"classes  {len(counts):,}: {shown}{more}"]
    if layout.splits:
        of_split: dict[str, set[str]] = {}
        for image, label in label_of.items():
            of_split.setdefault(layout.splits.get(image, ""), set()).add(label)
        for split, labels in sorted(of_split.items()):
            missing = sorted(set(counts) - labels)
            if missing:
                lines.append(f"classes  split {split} has none of {len(missing):,} classes, such as {missing[0]}")
    return lines


def _other_members(label: int | None, numbers: tuple[float, ...] | None) -> dict[str, bytes]:
    """Encode what a sample holds beside its image."""
    members = {} if label is None else {"cls": b"%d" % label}
    return members if numbers is None else members | {"attributes.npy": encode_array(numbers)}


def _members(
    files: Files, name: str, size: Size | None, background: Colour, others: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    extension, content = fit_image(files.read(name), f"{files.where}/{name}", size, background=background)
    return {extension: content, **others}


def _read_attributes(path: Path, images: Sequence[str]) -> _Attributes:
    """Read the numbers and, where there is such a column, the split of each image."""
    table = read_table(path)
    if NameMatcher(images).find(table.header[0], str(path)) is not None:
        raise DataError(f"{path}: its first line names an image, {table.header[0]}: put a header above it, such as image,age")
    if not table.rows:
        raise DataError(f"{path}: has a header and no lines")
    columns = tuple(column for column in table.header[1:] if column.lower() != "split")
    if not columns:
        raise DataError(
            f"{path}: expected a header with the image's name first and at least one attribute, found {', '.join(table.header)}"
        )
    places = [table.header.index(column) for column in columns]
    at_split = next((i for i, column in enumerate(table.header) if i and column.lower() == "split"), None)
    lines = _lines_of(path, [(row.number, row.cells[0]) for row in table.rows])
    matched = NameMatcher(images).match(lines, table.where)
    require_images(table.where, lines, matched)
    numbers: dict[str, tuple[float, ...]] = {}
    words: dict[str, str] = {}
    for row in table.rows:
        where = f"{path}: line {row.number}"
        image = matched[row.cells[0]]
        numbers[image] = tuple(
            parse_number(row.cells[place], f"{where}, {column}") for place, column in zip(places, columns, strict=True)
        )
        if at_split is not None:
            words[image] = _require_split(row.cells[at_split], where)
    meant = name_splits(words.values())
    return _Attributes(columns, numbers, {image: meant[word] for image, word in words.items()})


def _read_split_list(path: Path, images: Sequence[str]) -> dict[str, str]:
    """Read the split of each listed image: ``NAME SPLIT``, or two columns of a table.

    Raises:
        DataError: when the list is empty, or a line is neither.
    """
    entries: dict[str, str] = {}
    numbered: list[tuple[int, str]] = []
    for number, line in text_lines(read_text(path)):
        name, word = _name_and_word(line)
        if number == 1 and (name.lower(), word.lower()) in _LIST_HEADERS:
            continue
        if not name:
            raise DataError(f"{path}: line {number}: expected NAME SPLIT, found {line!r}")
        entries[name] = _require_split(word, f"{path}: line {number}")
        numbered.append((number, name))
    if not numbered:
        raise DataError(f"{path}: is empty; expected NAME SPLIT on each line")
    lines = _lines_of(path, numbered)
    matched = NameMatcher(images).match(lines, str(path))
    require_images(str(path), lines, matched)
    meant = name_splits(entries.values())
    return {image: meant[entries[name]] for name, image in matched.items()}


_LIST_HEADERS = {(name, "split") for name in ("name", "image", "image_id", "file", "filename", "path")}


def _name_and_word(line: str) -> tuple[str, str]:
    """Divide a line of a list of splits; a name may hold white space, commas and, between quotes, anything."""
    for delimiter in ",;\t":
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        if len(cells) == 2 and _is_split(cells[1].strip()):
            return cells[0].strip(), cells[1].strip()
    name, _, word = line.replace("\t", " ").rpartition(" ")
    return name.strip().strip('"'), word.strip()


def _lines_of(path: Path, numbered: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Return the line of each listed name.

    Raises:
        DataError: when a name is listed twice.
    """
    lines: dict[str, int] = {}
    for number, name in numbered:
        if name in lines:
            raise DataError(f"{path}: lines {lines[name]} and {number} both name {name}; take one of them out")
        lines[name] = number
    return lines


def _require_split(word: str, where: str) -> str:
    """Return the name of a split, which becomes a part of file names."""
    if not _is_split(word):
        raise DataError(f"{where}: {word!r} is not the name of a split, such as train or test")
    near = difflib.get_close_matches(word.lower(), SPLIT_WORDS, n=1, cutoff=0.75) if split_word(word) is None else []
    if near:
        raise DataError(f"{where}: {word!r} is not the name of a usual split: is {near[0]} meant?")
    return split_word(word) or word


def _is_split(word: str) -> bool:
    return word.replace("-", "_").isidentifier()


PACK = PackKind(read_folder, example="~/photos.zip s3://bucket/sets/photos --size 64x64 --labels", default_name=name_of_path)
