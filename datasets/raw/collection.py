"""What a collection of raw files offers, whether it is a folder or an archive, and which names it passes over."""

import posixpath
from typing import Protocol

from unbraid.datasets.raw.tally import Tally

LARGEST_FILE = 256 << 20
"""Bytes of one raw file that are read."""
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "@eadir"})
"""Names of files and folders that operating systems put beside those of people, in lower case."""
HIDDEN = "hidden files, or files of an operating system"
LINKS_OUT = "links that lead out of the source (--follow-links takes them in)"


class UnusableSampleError(Exception):
    """One sample cannot be packed; the message names its file and what is wrong with it."""


class Files(Protocol):
    """A collection of files.

    Attributes:
        where: names the collection in messages.
        names: relative, with forward slashes, sorted.
        left_out: what is there but is not among ``names``: hidden files, links.
    """

    where: str
    names: list[str]
    left_out: Tally

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            UnusableSampleError: when it cannot be read, or is larger than any file of a sample.
        """
        ...

    def head(self, name: str, length: int) -> bytes:
        """Read the first bytes of a file; fewer where it is shorter.

        Raises:
            UnusableSampleError: when it cannot be read.
        """
        ...

    def fingerprint(self, name: str) -> str:
        """Return a string that changes when the file does, without reading the file."""
        ...


def is_hidden(name: str) -> bool:
    """Return whether a part of a path is hidden, or is a name that an operating system gives to files of its own."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def tidy_name(name: str) -> str:
    """Write the name of an archive's member as folders are read: forward slashes, relative, no ``.`` parts."""
    return posixpath.normpath(name.replace("\\", "/").lstrip("/")) if name else ""


def require_small(where: str, size: int) -> None:
    """Check that a file is not larger than any file of a sample.

    Raises:
        UnusableSampleError: when it is.
    """
    if size > LARGEST_FILE:
        raise UnusableSampleError(f"{where}: has {size:,} bytes, at most {LARGEST_FILE:,} are read of one file")
