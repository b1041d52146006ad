"""Opens raw files: a folder, a zip or a tar."""

import os
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
    if path.is_dir():
        return FolderFiles(path, follow_links)
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive")
    return open_archive(path)


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
        path = self.root / name
        try:
            require_small(str(path), path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise UnusableSampleError(f"{path}: {error.strerror or error}") from None

    def head(self, name: str, length: int) -> bytes:
        path = self.root / name
        try:
            with path.open("rb") as file:
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
        target = Path(link).resolve()
        return target.exists() and (self._follow_links or target.is_relative_to(self._inside))
