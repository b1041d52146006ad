"""Pairs of images of two domains: in two folders under equal names, or side by side in one file.

Two folders beside each other whose images have the same names are the domains, whatever they are called: A and B, trainA and
trainB, photo and sketch. Without such folders every image holds two, X on the left and Y on the right: where all are twice as
wide as high, or with --side-by-side. A batch holds `x` and `y`; a grey image of a pair is shown in colour.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import Size, fit_image, image_names
from unbraid.datasets.raw.names import key_of, name_splits, read_layout, split_by_hash, split_word
from unbraid.datasets.raw.survey import Headers, Survey, survey
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.pixels import Colour
from unbraid.datasets.sources.folder import (
    ANY_SIZE_OPTION,
    BACKGROUND_OPTION,
    FOLLOW_LINKS_OPTION,
    SIZE_OPTION,
    TEST_SHARE_OPTION,
    describe_folders,
    describe_hash,
    read_colour,
)
from unbraid.datasets.sources.kinds import Option, PackKind, name_of_path
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field

DOMAINS = ("x", "y")
_LETTER = re.compile(r"(?P<split>.*?)[-_ ]?(?P<side>[AB])", re.IGNORECASE)
"""trainA, train_a, A: an optional split, then the letter of a domain."""
_X_WORDS = ("a", "input", "inputs", "source", "src", "x", "left", "photo", "image", "images")
_Y_WORDS = ("b", "target", "targets", "output", "y", "right")
LEAST_MATCHED = 0.5
"""Share of the images that must have a partner for two folders to be the domains."""


@dataclass(frozen=True)
class _Wanted:
    """The options of the command, see :func:`read_pairs`."""

    size: Size | None
    any_size: bool
    background: Colour
    swap: bool
    test_share: float


@dataclass(frozen=True)
class _Found:
    """Two folders that are the domains, and what the paths of their images say.

    Attributes:
        sides: names of the folders of X and Y.
        keyed: of each image its side (0 or 1) and the key of its pair.
        splits: of each key, where folders name it.
        words: the folders that name splits, and the split of each.
        strays: images in neither of the two folders.
    """

    sides: tuple[str, str]
    keyed: Mapping[str, tuple[int, str]]
    splits: Mapping[str, str]
    words: Mapping[str, str]
    strays: Sequence[str]


@dataclass(frozen=True)
class _Match:
    """The images of two folders, put together.

    Attributes:
        folders: that are the domains.
        pairs: the images of each pair, by the key that they share.
        alone: images without a partner.
    """

    folders: _Found
    pairs: Mapping[str, tuple[str, str]]
    alone: Sequence[str]


def read_pairs(
    path: Path,
    name: str,
    *,
    size: Annotated[Size | None, SIZE_OPTION] = None,
    any_size: Annotated[bool, ANY_SIZE_OPTION] = False,
    background: Annotated[str, BACKGROUND_OPTION] = "white",
    side_by_side: Annotated[bool, Option("Every image holds two of one width, X on the left, Y on the right.")] = False,
    swap: Annotated[bool, Option("Exchange X and Y.")] = False,
    test_share: Annotated[float, TEST_SHARE_OPTION] = 0.1,
    follow_links: Annotated[bool, FOLLOW_LINKS_OPTION] = False,
) -> Source:
    """List the pairs of images below ``path``.

    Raises:
        DataError: when there are no images, they are not pairs, or they cannot make a batch.
    """
    wanted = _Wanted(size, any_size, read_colour(background), swap, test_share)
    files = open_files(path, follow_links)
    left_out = Tally()
    names = image_names(files, left_out)
    found = survey(files, names)
    match = None if side_by_side else _match_folders(names, files.where)
    if match is not None:
        return _in_two_folders(files, found, match, name, wanted, left_out)
    _require_halves(found.headers, files.where, asked=side_by_side)
    return _side_by_side(files, found, name, wanted, left_out)


def _in_two_folders(files: Files, found: Survey, match: _Match, name: str, wanted: _Wanted, left_out: Tally) -> Source:
    left_out.add_all("images without a partner of the same name in the other folder", match.alone)
    left_out.add_all("images in no folder of a domain", match.folders.strays)
    order = (1, 0) if wanted.swap else (0, 1)
    splits: dict[str, list[Item]] = {}
    used: tuple[list[str], list[str]] = ([], [])
    for key, both in match.pairs.items():
        x, y = both[order[0]], both[order[1]]
        if x not in found.headers or y not in found.headers:
            continue  # one of them is unusable, which is reported
        used[0].append(x)
        used[1].append(y)
        mark = fingerprint(files.fingerprint(x), files.fingerprint(y), wanted.size, wanted.background)
        load = partial(_two_files, files, x, y, wanted)
        split = match.folders.splits.get(key) or split_by_hash(key, wanted.test_share)
        splits.setdefault(split, []).append(Item(key_of(key), load, mark, f"{files.where}: {x} and {y}"))
    if not splits:
        raise DataError(f"{files.where}: no pair of which both images can be read: {found.unusable[0]}")
    shapes = [found.shape(names, wanted.size, wanted.any_size) for names in used]
    channels = max(shape[0] for shape in shapes)
    folders = (match.folders.sides[order[0]], match.folders.sides[order[1]])
    return Source(
        name,
        {domain: image_field((channels, *shape[1:]), f"{domain}.") for domain, shape in zip(DOMAINS, shapes, strict=True)},
        splits,
        origin=files.where,
        left_out=left_out,
        unusable=found.unusable,
        understood=[
            f"pairs    {len(used[0]):,}: X from folder {folders[0]}, Y from folder {folders[1]} (--swap exchanges them)",
            describe_folders(splits, match.folders.words) if match.folders.words else describe_hash(splits, wanted.test_share),
            *(
                f"{domain.upper()} {line}"
                for domain, part in zip(DOMAINS, used, strict=True)
                for line in found.describe(part, wanted.size, wanted.background)
            ),
        ],
    )


def _side_by_side(files: Files, found: Survey, name: str, wanted: _Wanted, left_out: Tally) -> Source:
    size = wanted.size
    layout = read_layout(list(found.headers))
    splits: dict[str, list[Item]] = {}
    used: list[str] = []
    for image in found.headers:
        if layout.splits and image not in layout.splits:
            left_out.add(f"images outside of the folders of splits ({', '.join(layout.words)})", image)
            continue
        used.append(image)
        mark = fingerprint(files.fingerprint(image), size, wanted.background, wanted.swap)
        split = layout.splits.get(image) or split_by_hash(image, wanted.test_share)
        item = Item(key_of(image), partial(_two_halves, files, image, wanted), mark, f"{files.where}/{image}")
        splits.setdefault(split, []).append(item)
    whole = found.shape(used, None, wanted.any_size or size is not None)
    channels = max(found.headers[image].channels for image in used)
    shape = (channels, *size) if size else (channels, whole[1], whole[2] // 2)
    sides = "X on the right, Y on the left" if wanted.swap else "X on the left, Y on the right (--swap exchanges them)"
    return Source(
        name,
        {domain: image_field(shape, f"{domain}.") for domain in DOMAINS},
        splits,
        origin=files.where,
        left_out=left_out,
        unusable=found.unusable,
        understood=[
            f"pairs    {len(used):,}: side by side, {sides}; every image is halved",
            describe_folders(splits, layout.words) if layout.words else describe_hash(splits, wanted.test_share),
            *found.describe(used, None, wanted.background),
            *([f"resized  all halves to {size[0]}x{size[1]}"] if size else []),
        ],
    )


def _match_folders(names: Sequence[str], where: str) -> _Match | None:
    """Find two folders, beside each other in every split, whose images have equal names; None where there are none.

    Raises:
        DataError: when folders that look like domains do not match, or one holds two images of one name.
    """
    for find in (_by_letter, _by_level):
        found = find(names)
        if found is not None:
            _require_no_other_folders(found, where)
            return _matched(found, where)
    return None


def _require_no_other_folders(found: _Found, where: str) -> None:
    """Check that no folder beside those of the two domains holds images.

    Raises:
        DataError: naming one.
    """
    stray = next((name for name in found.strays if "/" in name), None)
    if stray is not None:
        raise DataError(
            f"{where}: {stray} lies in no folder of a domain, while others lie in {found.sides[0]} and {found.sides[1]}: is "
            "it a third domain, or a split with other folders? Move it away, or name all folders alike"
        )


def _by_letter(names: Sequence[str]) -> _Found | None:
    """Find folders A and B, trainA and test_b: the split and the domain in one name, or apart."""
    keyed: dict[str, tuple[int, str]] = {}
    words: dict[str, str] = {}
    key_words: dict[str, str] = {}
    strays: list[str] = []
    for name in names:
        path = PurePosixPath(name)
        side = None
        parts = []
        word = ""
        for part in path.parent.parts:
            letter = _LETTER.fullmatch(part)
            if side is None and letter and (not letter["split"] or split_word(letter["split"])):
                side = "ab".index(letter["side"].lower())
                word = letter["split"] or word
                parts.append(letter["split"])
            else:
                word = word or (part if split_word(part) else "")
                parts.append(part)
        if side is None:
            strays.append(name)
            continue
        key = "/".join(part for part in (*parts, path.stem) if part)
        keyed[name] = (side, key)
        if word:
            words[word] = word
            key_words[key] = word
    if {side for side, _ in keyed.values()} != {0, 1}:
        return None
    meant = name_splits(words)
    return _Found(("A", "B"), keyed, {key: meant[word] for key, word in key_words.items()}, meant, strays)


def _by_level(names: Sequence[str]) -> _Found | None:
    """Find a level of folders at which all images lie in one of two, with mostly equal names below both."""
    layout = read_layout(names)
    folders = {name: PurePosixPath(name).parent.parts for name in names}
    for level in range(max(map(len, folders.values()), default=0)):
        sides = sorted({parts[level] for parts in folders.values() if level < len(parts)})
        if len(sides) != 2 or any(level >= len(parts) for parts in folders.values()) or set(sides) & set(layout.words):
            continue
        sides.sort(key=_precedence)
        keyed = {
            name: (
                sides.index(parts[level]),
                "/".join((*parts[:level], *parts[level + 1 :], PurePosixPath(name).stem)),
            )
            for name, parts in folders.items()
        }
        x, y = ({key for side, key in keyed.values() if side == wanted} for wanted in (0, 1))
        if len(x & y) >= LEAST_MATCHED * min(len(x), len(y)):
            splits = {keyed[name][1]: split for name, split in layout.splits.items()}
            return _Found((sides[0], sides[1]), keyed, splits, dict(layout.words), [])
    return None


def _precedence(folder: str) -> tuple[int, str]:
    """Order two folders: the one whose name means an input is X."""
    word = folder.lower()
    return (0 if word in _X_WORDS else 2 if word in _Y_WORDS else 1), folder


def _matched(found: _Found, where: str) -> _Match:
    """Put the images of equal keys together.

    Raises:
        DataError: when two images of one side have one key, or no key is on both sides.
    """
    by_key: dict[str, dict[int, str]] = {}
    for image, (side, key) in found.keyed.items():
        other = by_key.setdefault(key, {}).setdefault(side, image)
        if other != image:
            raise DataError(f"{where}: {other} and {image} both are image {'XY'[side]} of the pair {key}; take one of them out")
    pairs = {key: (images[0], images[1]) for key, images in by_key.items() if len(images) == 2}
    alone = [image for images in by_key.values() if len(images) == 1 for image in images.values()]
    if not pairs:
        raise DataError(
            f"{where}: no pairs: folders {found.sides[0]} and {found.sides[1]} hold no two images of one name; {alone[0]} is "
            "one without a partner"
        )
    return _Match(found, pairs, alone)


def _require_halves(headers: Headers, where: str, asked: bool) -> None:
    """Check that every image holds two.

    Raises:
        DataError: naming one that does not.
    """
    odd = next((image for image, header in headers.items() if header.width % 2), None)
    wrong = odd or next((i for i, h in headers.items() if h.width != 2 * h.height), None)
    if odd is None and (asked or wrong is None):
        return
    assert wrong is not None
    header = headers[wrong]
    found = f"{wrong} is {header.height}x{header.width} (height x width)"
    if asked:
        raise DataError(f"{where}: {found}, which are not two halves of one width; take it out")
    raise DataError(
        f"{where}: these are no pairs: no two folders beside each other hold images of equal names, and not every image is "
        f"twice as wide as high, as two square ones side by side are ({found}). Put the domains into two folders, or say "
        "--side-by-side"
    )


def _two_files(files: Files, x: str, y: str, wanted: _Wanted) -> Mapping[str, bytes]:
    members = {}
    for prefix, name in zip(DOMAINS, (x, y), strict=True):
        extension, content = fit_image(files.read(name), f"{files.where}/{name}", wanted.size, background=wanted.background)
        members[f"{prefix}.{extension}"] = content
    return members


def _two_halves(files: Files, name: str, wanted: _Wanted) -> Mapping[str, bytes]:
    content, where = files.read(name), f"{files.where}/{name}"
    members = {}
    for prefix, half in zip(DOMAINS, (1, 0) if wanted.swap else (0, 1), strict=True):
        extension, part = fit_image(content, where, wanted.size, half=half, background=wanted.background)
        members[f"{prefix}.{extension}"] = part
    return members


PACK = PackKind(read_pairs, example="~/facades s3://bucket/sets/facades --size 256x256", default_name=name_of_path)
