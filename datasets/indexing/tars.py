"""Finds the tars that a pattern means, and the split of each."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.names import name_splits, split_word
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.untrusted.keys import relative_key

MOST_TARS = 100_000
_WILD = re.compile(r"[*?\[]")
_SUFFIXES_OF_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Tar:
    """A tar that exists.

    Attributes:
        name: key in its store.
        bytes: its size.
        split: to which its samples belong.
    """

    name: str
    bytes: int
    split: str


@dataclass(frozen=True)
class Tars:
    """Tars below one URL.

    Attributes:
        store: that has them.
        tars: in order of their names.
        words: which split each word of the names means, for the report.
    """

    store: Store
    tars: Sequence[Tar]
    words: dict[str, str]


def find_tars(pattern: str, splits: Sequence[tuple[str, str]] = ()) -> Tars:
    """Find the tars of a pattern.

    Args:
        pattern: ``s3://bucket/set-{000..127}.tar``, a glob, or the URL of a folder, of which all tars are taken.
        splits: pairs of a split's name and a glob; a tar whose name matches belongs to that split. The others belong to the
            split that a word of their name, or their folder, means (``train``, ``val``, …), else to ``train``.

    Raises:
        DataError: when there are none, one of a numbered series is missing, or they are compressed.
    """
    from webdataset.shardlists import expand_urls

    try:
        urls = expand_urls(pattern)
    except ValueError as error:
        raise DataError(f"{pattern}: {error}; write a series as set-{{000..127}}.tar") from None
    if len(urls) > MOST_TARS:
        raise DataError(f"{pattern}: means {len(urls):,} tars, at most {MOST_TARS:,} are taken together")
    base = _shared_base(urls)
    store = open_store(base)
    sizes = store.sizes()
    names = _matching(urls, base, sizes, store.url)
    if not names:
        compressed = next((name for name in sizes if name.endswith(_SUFFIXES_OF_COMPRESSED)), None)
        if compressed is not None:
            raise DataError(
                f"{store.url}/{compressed}: is compressed, so that no sample can be read without all those before it; "
                "decompress it once (images are compressed already, so that it hardly grows)"
            )
        raise DataError(f"{pattern}: no tar is there; name tars as set-{{000..127}}.tar, by a glob, or their folder")
    _require_matches(splits, names)
    folder = base.rstrip("/").rpartition("/")[2]
    words = {name: _word(name, folder) for name in names}
    meant = name_splits({word for word in words.values() if word})
    return Tars(
        store,
        [Tar(name, sizes[name], _listed_split(name, splits) or meant.get(words[name], "train")) for name in names],
        meant,
    )


def parse_splits(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Read ``NAME=GLOB`` of each split.

    Raises:
        DataError: when one is written otherwise.
    """
    splits = []
    for text in texts:
        name, equals, glob = text.partition("=")
        if not equals or not glob or not name.isidentifier():
            raise DataError(f"--split {text}: expected NAME=GLOB, such as test='*-12?.tar'")
        splits.append((name, glob))
    return splits


def _shared_base(urls: Sequence[str]) -> str:
    """Return the innermost folder that all URLs share and that has no wildcard."""
    parts = [url.split("/") for url in urls]
    if not urls[0].endswith(".tar") and len(urls) == 1 and not _WILD.search(urls[0]):
        return urls[0].rstrip("/")
    shared = []
    for level in zip(*(p[:-1] for p in parts), strict=False):
        if len(set(level)) > 1 or _WILD.search(level[0]):
            break
        shared.append(level[0])
    base = "/".join(shared)
    return base if base else "." if not urls[0].startswith("/") else "/"


def _matching(urls: Sequence[str], base: str, sizes: dict[str, int], where: str) -> list[str]:
    """Return the names of the tars that the URLs mean, sorted.

    Raises:
        DataError: when a tar that is named exactly is missing, or a name cannot be a key.
    """
    names: set[str] = set()
    missing: list[str] = []
    for url in urls:
        name = url.removeprefix(base).strip("/") if base != "." else url
        if not name:
            names |= {key for key in sizes if key.endswith(".tar")}
        elif _WILD.search(name):
            names |= set(fnmatch.filter((key for key in sizes if key.endswith(".tar")), name))
        elif name in sizes:
            names.add(name)
        else:
            missing.append(name)
    if missing and (names or len(missing) > 1 or not missing[0].endswith(_SUFFIXES_OF_COMPRESSED)):
        raise DataError(f"{where}: {len(missing):,} of {len(urls):,} tars are not there, such as {missing[0]}")
    for name in names:
        try:
            relative_key(name)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None
    return sorted(names)


def _require_matches(splits: Sequence[tuple[str, str]], names: Sequence[str]) -> None:
    """Check that every glob of a split matches a tar.

    Raises:
        DataError: naming one that does not.
    """
    for split, glob in splits:
        if not any(_listed_split(name, [(split, glob)]) for name in names):
            raise DataError(f"--split {split}={glob}: matches none of {len(names):,} tars, such as {names[0]}")


def _listed_split(name: str, splits: Sequence[tuple[str, str]]) -> str | None:
    """Return the first split whose glob matches the name, or its last part."""
    ends = (name, name.rpartition("/")[2])
    return next((split for split, glob in splits if any(fnmatch.fnmatch(end, glob) for end in ends)), None)


def _word(name: str, folder: str) -> str:
    """Return the last word of a tar's name that means a split, else the folder that all tars lie in; empty when none does."""
    words = [word for word in re.split(r"[^A-Za-z]+", name) if split_word(word)]
    return words[-1].lower() if words else folder if split_word(folder) else ""
