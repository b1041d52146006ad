"""Opens raw files: a folder, a zip or a tar."""

import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.archives import open_archive
from unbraid.datasets.raw.collection import HIDDEN, LINKS_OUT, Files, UnusableSampleError, is_hidden, require_small
from unbraid.datasets.raw.tally import Tally


def open_files(path: Path, follow_links: bool = False) -> Files:
    """Open a folder, a .zip, or a .tar; a compressed tar is unpacked to a temporary file first.

    Args:
        follow_links: of a folder, also those that lead out of it.

    Raises:
        DataError: when the path does not exist, is none of these, or is a damaged archive.
    """
    if _mode(path, "no such folder or archive") == stat.S_IFDIR:
        return FolderFiles(path, follow_links)
    return open_archive(require_file(path))


def require_file(path: Path) -> Path:
    """Check that a path is a file, of which reading comes to an end: no device and no pipe.

    Raises:
        DataError: when it is not, or may not be looked at.
    """
    mode = _mode(path)
    if mode != stat.S_IFREG:
        raise DataError(f"{path}: is {_KINDS.get(mode, 'no file')}, a file was expected there")
    return path


def find_entry(folder: Path, names: Iterable[str], missing: str) -> Path:
    """Return the first of some names that is in a folder.

    Args:
        missing: the message where none is there.

    Raises:
        DataError: when the path is no folder or may not be looked into, or none of the names is there.
    """
    for name in names:
        try:
            (folder / name).stat()
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            raise DataError(f"{folder}: is a file, a folder was expected there") from None
        except OSError as error:
            raise DataError(f"{folder / name}: {error.strerror or error}") from None
        return folder / name
    raise DataError(missing)


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def _mode(path: Path, missing: str = "No such file or directory") -> int:
    """Return which kind of entry lies at a path, as :mod:`stat` numbers them.

    Args:
        missing: what to say after the path where there is none.

    Raises:
        DataError: when there is none, or it may not be looked at.
    """
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        raise DataError(f"{path}: {missing}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


class FolderFiles:
    """The files below a folder.

    Links are followed where they lead to a place inside the folder: a folder that somebody else has made must not bring in
    files of this machine. Links that lead out are followed on request.
    """

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self.root = root
        self.where = str(root)
        self.left_out = Tally()
        self.names: list[str] = []
        self._inside = root.resolve()
        self._follow_links = follow_links
        self._list(root, "", frozenset({self._inside}))
        self.names.sort()

    def read(self, name: str) -> bytes:
        path = f"{self.where}/{name}"
        try:
            with io.FileIO(path) as file:  # a Path and a buffer would take longer than a small file does
                require_small(path, os.fstat(file.fileno()).st_size)
                return file.readall()
        except OSError as error:
            raise UnusableSampleError(f"{path}: {error.strerror or error}") from None

    def head(self, name: str, length: int) -> bytes:
        path = f"{self.where}/{name}"
        try:
            with io.FileIO(path) as file:
                return file.read(length)
        except OSError as error:
            raise UnusableSampleError(f"{path}: {error.strerror or error}") from None

    def fingerprint(self, name: str) -> str:
        try:
            stat = (self.root / name).stat()
        except OSError:
            return name  # reading it says what is wrong
        return f"{name} {stat.st_size} {stat.st_mtime_ns}"

    def _list(self, folder: Path, prefix: str, above: frozenset[Path]) -> None:
        """List a folder and those below it.

        Args:
            above: the folders that this one lies in, without links; a link to one of them would have no end.
        """
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{folder}: {error.strerror or error}") from None
        for entry in entries:
            name = prefix + entry.name
            if is_hidden(entry.name):
                self.left_out.add(HIDDEN, name)
            elif entry.is_symlink() and not self._leads_inside(entry.path):
                self.left_out.add(LINKS_OUT if Path(entry.path).exists() else "links that lead nowhere", name)
            elif entry.is_dir():
                real = Path(entry.path).resolve()
                if real in above:
                    self.left_out.add("links to a folder that they lie in", name)
                else:
                    self._list(Path(entry.path), f"{name}/", above | {real})
            elif entry.is_file():
                self.names.append(name)
            else:
                self.left_out.add("entries that are neither files nor folders", name)

    def _leads_inside(self, link: str) -> bool:
        target = Path(os.path.realpath(link))  # unlike Path.resolve, it takes links that lead to themselves
        return target.exists() and (self._follow_links or target.is_relative_to(self._inside))
