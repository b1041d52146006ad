"""Reads raw files by name, from any thread: in a folder, a zip or a tar."""

import bz2
import gzip
import lzma
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, cast

from unbraid.datasets.errors import DataError
from unbraid.datasets.sources.source import UnusableSampleError

LARGEST_FILE = 256 << 20
"""Bytes of one member of an archive that are read."""
LARGEST_RATIO = 200
"""Times that a compressed tar may grow: archives of images hardly do, a bomb grows a thousandfold."""
SMALL = 1 << 30
"""Bytes up to which a compressed tar may grow in any case."""


class Files(Protocol):
    """A collection of files.

    Attributes:
        where: names the collection in messages.
        names: relative, with forward slashes, sorted.
        left_out: links out of the collection, each with the reason.
    """

    where: str
    names: list[str]
    left_out: list[str]

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            DataError: when it cannot be read.
            UnusableSampleError: when it is larger than any file of a sample.
        """
        ...

    def fingerprint(self, name: str) -> str:
        """Return a string that changes when the file does, without reading the file."""
        ...


def open_files(path: Path) -> Files:
    """Open a folder, a .zip, or a .tar; a compressed tar is unpacked to a temporary file first.

    Raises:
        DataError: when the path does not exist, or is none of these.
    """
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive")
    try:
        if zipfile.is_zipfile(path):
            return ZipFiles(path)
        if tarfile.is_tarfile(path):
            return TarFiles(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    raise DataError(f"{path}: neither a folder nor a zip nor a tar (damaged? fetch it again)")


class FolderFiles:
    """The files below a folder, without hidden ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)
        self.left_out: list[str] = []
        inside = root.resolve()
        self.names: list[str] = []
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            if any(part.startswith(".") for part in name.parts) or not path.is_file():
                continue
            if path.resolve().is_relative_to(inside):
                self.names.append(name.as_posix())
            else:
                self.left_out.append(f"{name.as_posix()} is a link out of {root}")

    def read(self, name: str) -> bytes:
        try:
            _require_small(f"{self.root / name}", (self.root / name).stat().st_size)
            return (self.root / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.root / name}: {error.strerror or error}") from error

    def fingerprint(self, name: str) -> str:
        stat = (self.root / name).stat()
        return f"{name} {stat.st_size} {stat.st_mtime_ns}"


class ZipFiles:
    """The members of a zip."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.left_out: list[str] = []
        self._archive = zipfile.ZipFile(path)
        self._infos = {info.filename: info for info in self._archive.infolist() if not info.is_dir()}
        self.names = sorted(self._infos)

    def read(self, name: str) -> bytes:
        _require_small(f"{self.where}: {name}", self._infos[name].file_size)  # zipfile unpacks no more than that
        try:
            return self._archive.read(name)  # zipfile locks its file itself
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
            raise DataError(f"{self.where}: {name} cannot be read ({error}); fetch the archive again") from None

    def fingerprint(self, name: str) -> str:
        info = self._infos[name]
        return f"{name} {info.file_size} {info.CRC}"


class TarFiles:
    """The members of a tar; a compressed one is unpacked first, because members are read in any order."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.left_out: list[str] = []
        self._lock = threading.Lock()
        self._file = _uncompressed(path)
        self._infos: dict[str, tarfile.TarInfo] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for info in archive:
                name = info.name.removeprefix("./")
                if info.isfile():
                    self._infos[name] = info
                elif info.issym() or info.islnk():
                    self.left_out.append(f"{name} is a link")
        self.names = sorted(self._infos)

    def read(self, name: str) -> bytes:
        info = self._infos[name]
        _require_small(f"{self.where}: {name}", info.size)
        with self._lock:
            self._file.seek(info.offset_data)
            content = self._file.read(info.size)
        if len(content) != info.size:
            raise DataError(f"{self.where}: {name} is cut off; fetch the archive again")
        return content

    def fingerprint(self, name: str) -> str:
        info = self._infos[name]
        return f"{name} {info.size} {info.mtime} {info.chksum}"


def _uncompressed(path: Path) -> IO[bytes]:
    """Open a tar; unpack it to a temporary file if it is compressed."""
    with path.open("rb") as raw:
        signature = raw.read(6)
    openers: dict[bytes, Callable[[Path], IO[bytes]]] = {b"\x1f\x8b": _gzip, b"BZh": _bzip2, b"\xfd7zXZ": _xz}
    opener = next((o for start, o in openers.items() if signature.startswith(start)), None)
    if opener is None:
        return path.open("rb")
    unpacked: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as its TarFiles
    with opener(path) as compressed:
        most = max(SMALL, LARGEST_RATIO * path.stat().st_size)
        while content := compressed.read(1 << 20):
            if unpacked.tell() + len(content) > most:
                raise DataError(f"{path}: unpacks to more than {LARGEST_RATIO} times its size; is it an archive of images?")
            unpacked.write(content)
    unpacked.seek(0)
    return unpacked


def _require_small(where: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise UnusableSampleError(f"{where}: has {size:,} bytes, at most {LARGEST_FILE:,} are read")


def _gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path))


def _bzip2(path: Path) -> IO[bytes]:
    return cast(IO[bytes], bz2.open(path))


def _xz(path: Path) -> IO[bytes]:
    return cast(IO[bytes], lzma.open(path))
