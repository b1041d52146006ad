"""What the paths of raw images say: their split, their class, and which image a list means by a name."""

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import IMAGE_SUFFIXES

_WORDS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "holdout": "validation",
    "trn": "train",
    "tst": "test",
}
SPLIT_WORDS = tuple(_WORDS)
"""The words that mean a split."""
_SPLIT_NAME = re.compile(rf"(?:images?|imgs?)?[-_ ]?({'|'.join(_WORDS)})[-_ ]?(?:set|images?|imgs?|data|split)?[-_ ]?\d*")
"""train, Training, train_images, images-test, val2017, TrainSet."""
_UNFIT = re.compile(r"[\\.\x00-\x1f\x7f]")


def split_word(name: str) -> str | None:
    """Return the split that a name means, ``train``, ``validation`` or ``test``; None when it means none."""
    found = _SPLIT_NAME.fullmatch(name.strip().lower())
    return _WORDS[found[1]] if found else None


def name_splits(words: Iterable[str]) -> dict[str, str]:
    """Map each name of a split to the split that is packed.

    A set that has a validation split but no test split is measured on the former: it is called ``test``.

    Args:
        words: as folders or lists write them; one that is no usual word for a split is kept.
    """
    meant = {word: split_word(word) or word for word in words}
    if "test" not in meant.values():
        meant = {word: "test" if split == "validation" else split for word, split in meant.items()}
    return meant


@dataclass(frozen=True)
class Layout:
    """What folders say of images.

    Attributes:
        splits: of each image, where folders name splits; an image that lies in none of them is missing.
        folders: of each image: the other folders that it lies in, from the outermost one that not all images share.
        words: the folders that name splits, and the split of each.
        doubted: folders that are called as splits are, but lie beside others; they are taken for classes.
        shared: the outermost folders, which all images share.
    """

    splits: Mapping[str, str]
    folders: Mapping[str, tuple[str, ...]]
    words: Mapping[str, str]
    doubted: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


def read_layout(images: Sequence[str]) -> Layout:
    """Read the splits and classes of images from their folders.

    Folders name splits where all folders beside each other do, or where one means the training split and one another split.
    A single folder ``train`` between ``bus`` and ``plane`` is a class.
    """
    parts = {image: tuple(image.split("/")[:-1]) for image in images}
    shared = _shared_length(list(parts.values()))
    level, words, doubted = _split_level(list(parts.values()))
    meant = name_splits(words)
    splits = {
        image: meant[folders[level]] for image, folders in parts.items() if level < len(folders) and folders[level] in words
    }
    others = {
        image: tuple(folder for i, folder in enumerate(folders) if i >= shared and not (i == level and image in splits))
        for image, folders in parts.items()
    }
    common = next(iter(parts.values()), ())[:shared]
    outer = tuple(folder for i, folder in enumerate(common) if not (i == level and folder in words))
    return Layout(splits, others, meant, doubted, outer)


def _shared_length(folders: Sequence[tuple[str, ...]]) -> int:
    """Return how many of the outermost folders all images share."""
    first = folders[0] if folders else ()
    return next((i for i in range(len(first)) if any(f[i : i + 1] != first[i : i + 1] for f in folders)), len(first))


def _split_level(folders: Sequence[tuple[str, ...]]) -> tuple[int, set[str], tuple[str, ...]]:
    """Return the level at which folders name splits, their names, and names that might have been splits."""
    doubted: set[str] = set()
    for level in range(max(map(len, folders), default=0)):
        names = {f[level] for f in folders if level < len(f)}
        words = {name for name in names if split_word(name)}
        meant = {split_word(word) for word in words}
        if words and (words == names or ("train" in meant and len(meant) > 1)):
            return level, words, tuple(sorted(doubted))
        doubted |= words
    return 1 << 30, set(), tuple(sorted(doubted))


def split_by_hash(name: str, test_share: float) -> str:
    """Return ``train`` or ``test`` by the name alone, so that added files never move the others."""
    return "test" if zlib.crc32(name.encode(errors="surrogateescape")) / 2**32 < test_share else "train"


def key_of(name: str) -> str:
    """Make a sample's key from its file's name: ``cat/1.jpg`` → ``cat/1_jpg``.

    A dot would begin an extension. What no key may have, such as bytes in another encoding than UTF-8, becomes hexadecimal.
    """
    plain = name.encode(errors="surrogateescape").decode(errors="backslashreplace").replace("\\x", "%")
    plain = _UNFIT.sub(lambda found: "_" if found[0] == "." else f"%{ord(found[0]):02x}", unicodedata.normalize("NFC", plain))
    return "".join(c if c.isprintable() else f"%{ord(c):x}" for c in plain)


def plain_names(name: str) -> tuple[str, ...]:
    """Return the names by which lists may mean an image: every tail of its path, with and without suffixes."""
    path = PurePosixPath(name)
    tails = ["/".join(path.parts[i:]) for i in range(len(path.parts))]
    folders = [f"{tail.rpartition('/')[0]}/" if "/" in tail else "" for tail in tails]
    stems, file = [], path.name
    while (stem := _without_suffix(file)) != file:  # 0001.jpg.jpg is listed as 0001.jpg and as 0001
        file = stem
        stems += [f"{folder}{file}" for folder in folders]
    return (*tails, *stems)


def _without_suffix(name: str) -> str:
    """Return a name without the suffix of an image."""
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else name


class NameMatcher:
    """Finds the image that a list means.

    Args:
        images: names of all images.
        forms: the names by which a list may mean an image, the most exact one first.
    """

    def __init__(self, images: Sequence[str], forms: Callable[[str], Iterable[str]] = plain_names) -> None:
        self._found: dict[str, str] = {}
        self._several: dict[str, str] = {}
        for image in images:
            for form in map(_tidied, forms(image)):
                if self._found.setdefault(form, image) != image:
                    self._several.setdefault(form, image)
        for image in images:  # a whole path means that image, whatever else ends in it
            self._found[_tidied(image)] = image
            self._several.pop(_tidied(image), None)

    def find(self, name: str, where: str) -> str | None:
        """Return the image of a name, or None.

        Args:
            where: names file and line of the list.

        Raises:
            DataError: when the name means several images.
        """
        form = _tidied(name)
        if form not in self._found:
            form = _without_suffix(form)  # listed with a suffix that the file has not, such as .jpg of a converted .png
        if form in self._several:
            raise DataError(
                f"{where}: {name} means several images, {self._found[form]} and {self._several[form]}: write its folder too"
            )
        return self._found.get(form)

    def match(self, names: Mapping[str, int], where: str) -> dict[str, str]:
        """Return the image of each listed name; names without an image are missing.

        Args:
            names: and the line of each.
            where: the list.

        Raises:
            DataError: when a name means several images, or two names mean one.
        """
        matched: dict[str, str] = {}
        named: dict[str, str] = {}
        for name, line in names.items():
            image = self.find(name, f"{where}: line {line}")
            if image is None:
                continue
            if image in named:
                raise DataError(f"{where}: lines {names[named[image]]} and {line} both mean {image}; take one of them out")
            named[image] = name
            matched[name] = image
        return matched


def _tidied(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./").strip("/"))


def require_images(where: str, names: Iterable[str], matched: Mapping[str, str]) -> None:
    """Check that every listed name has an image.

    Raises:
        DataError: with the number of those that have none, and one of them.
    """
    missing = [name for name in names if name not in matched]
    if missing:
        raise DataError(
            f"{where}: names {len(missing):,} images that do not exist, such as {missing[0]}; take their lines out, or add them"
        )
