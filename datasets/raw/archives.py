"""Reads the members of zips and tars, so that an archive gives the same set as the folder that was packed into it."""

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TypeVar, cast

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import HIDDEN, Files, UnusableSampleError, is_hidden, require_small, tidy_name
from unbraid.datasets.raw.tally import Tally

LARGEST_RATIO = 200
"""Times that a compressed tar may grow: archives of images hardly do, a bomb grows a thousandfold."""
SMALL = 1 << 30
"""Bytes up to which a compressed tar may grow in any case."""
LONGEST_LINK = 4096
ZIP_IS_UTF8 = 0x800
ZIP_IS_ENCRYPTED = 0x1
FOLLOWED_LINKS = 8
OTHER_FORMATS = {
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf\x27\x1c": "an archive of 7-Zip",
    b"Rar!": "a RAR archive",
}
"""Archives that are not read, by the bytes that they begin with."""
Info = TypeVar("Info")


def open_archive(path: Path) -> Files:
    """Open a zip or a tar.

    Raises:
        DataError: when it is neither, or is damaged or cut off.
    """
    try:
        if zipfile.is_zipfile(path):
            return ZipFiles(path)
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                raise DataError(f"{path}: is a zip whose end is missing (cut off?); fetch it again")
        if _is_tar(path):
            return TarFiles(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error}); is it cut off or damaged? fetch it again") from None
    raise DataError(f"{path}: neither a folder nor a zip nor a tar{_other_format(path)}")


def _other_format(path: Path) -> str:
    """Say what to do with a file that is neither."""
    with path.open("rb") as file:
        start = file.read(8)
    for signature, name in OTHER_FORMATS.items():
        if start.startswith(signature):
            return f", but {name}: unpack it, and pack the folder"
    return " (damaged? fetch it again)"


class ZipFiles:
    """The members of a zip."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.left_out = Tally()
        self._archive = zipfile.ZipFile(path)
        found: dict[str, zipfile.ZipInfo] = {}
        links: dict[str, str] = {}
        for info in self._archive.infolist():
            written = _zip_name(info).replace("\\", "/")
            name = tidy_name(written)
            if written.endswith("/") or _left_out(name, self.left_out):
                continue
            if name in found or name in links:
                raise DataError(f"{path}: has two members named {name}; unpack it, and pack the folder")
            if stat.S_ISLNK(info.external_attr >> 16):
                links[name] = self._archive.read(info)[:LONGEST_LINK].decode(errors="replace") if _is_plain(info) else ""
            else:
                found[name] = info
        self._infos = with_links(found, links, self.left_out)
        self.names = sorted(self._infos)

    def read(self, name: str) -> bytes:
        require_small(f"{self.where}/{name}", self._infos[name].file_size)  # zipfile unpacks no more than that
        return self._read(name, None)

    def head(self, name: str, length: int) -> bytes:
        return self._read(name, length)

    def fingerprint(self, name: str) -> str:
        info = self._infos[name]
        return f"{name} {info.file_size} {info.CRC}"

    def _read(self, name: str, length: int | None) -> bytes:
        info, where = self._infos[name], f"{self.where}/{name}"
        if info.flag_bits & ZIP_IS_ENCRYPTED:
            raise UnusableSampleError(f"{where}: is locked by a password; unpack the archive, and pack the folder")
        try:
            if length is None:
                return self._archive.read(info)  # zipfile locks its file itself
            with self._archive.open(info) as member:
                return member.read(length)
        except NotImplementedError as error:
            raise UnusableSampleError(f"{where}: {error}; unpack the archive, and pack the folder") from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, KeyError, EOFError, RuntimeError) as error:
            raise UnusableSampleError(f"{where}: cannot be read ({error}); fetch the archive again") from None


class TarFiles:
    """The members of a tar; a compressed one is unpacked first, because members are read in any order."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.left_out = Tally()
        self._lock = threading.Lock()
        self._file = _uncompressed(path)
        found: dict[str, tarfile.TarInfo] = {}
        links: dict[str, str] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for info in archive:
                name = tidy_name(info.name)
                if info.isdir() or _left_out(name, self.left_out):
                    continue
                if info.isreg() and not info.issparse():
                    found[name] = info  # of several members of one name, the last is the one that unpacking leaves
                elif info.issym():
                    links[name] = info.linkname
                elif info.islnk():
                    links[name] = posixpath.relpath(tidy_name(info.linkname), posixpath.dirname(name) or ".")
                else:
                    self.left_out.add("members that are neither files nor folders", name)
            end = archive.offset  # of what follows the last member; tarfile stops there without a word, whatever it is
        self._require_end(path, end)
        self._infos = with_links(found, links, self.left_out)
        self.names = sorted(self._infos)

    def read(self, name: str) -> bytes:
        info = self._infos[name]
        require_small(f"{self.where}/{name}", info.size)
        return self._read(info, info.size)

    def head(self, name: str, length: int) -> bytes:
        info = self._infos[name]
        return self._read(info, min(info.size, length))

    def fingerprint(self, name: str) -> str:
        info = self._infos[name]
        return f"{name} {info.size} {info.mtime} {info.chksum}"

    def _read(self, info: tarfile.TarInfo, length: int) -> bytes:
        with self._lock:
            self._file.seek(info.offset_data)
            content = self._file.read(length)
        if len(content) != length:
            raise UnusableSampleError(f"{self.where}/{info.name}: is cut off; fetch the archive again")
        return content

    def _require_end(self, path: Path, end: int) -> None:
        """Check that the tar ends with its end mark, and nothing comes after the mark.

        Raises:
            DataError: when it is cut off, or members follow that no program reads.
        """
        self._file.seek(end)
        mark = self._file.read(512)
        if len(mark) < 512 or any(mark):
            raise DataError(f"{path}: has no end mark after {end:,} bytes: it is cut off or damaged; fetch it again")
        while rest := self._file.read(1 << 20):
            if rest.strip(b"\0"):
                raise DataError(
                    f"{path}: goes on after its end mark, as tars that were joined do; unpack it with `tar --ignore-zeros`, "
                    "and pack the folder"
                )


def with_links(found: Mapping[str, Info], links: Mapping[str, str], left_out: Tally) -> dict[str, Info]:
    """Add the links of an archive that lead to one of its files, as unpacking would; count those that do not."""
    files = dict(found)
    for name in links:
        target, seen = name, 0
        while target in links and seen < FOLLOWED_LINKS:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(target), links[target].replace("\\", "/")))
            seen += 1
        if target in found:
            files[name] = found[target]
        else:
            left_out.add("links that lead to no file of the archive", name)
    return files


def _left_out(name: str, left_out: Tally) -> bool:
    """Return whether a member is left out for its name, and count it."""
    parts = name.split("/")
    if ".." in parts:
        left_out.add("members whose names lead out of the archive", name)
    elif any(is_hidden(part) for part in parts):
        left_out.add(HIDDEN, name)
    else:
        return False
    return True


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name. Many programs write UTF-8 without saying so; zipfile then reads the bytes as code page 437."""
    if info.flag_bits & ZIP_IS_UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return info.filename


def _is_plain(info: zipfile.ZipInfo) -> bool:
    return not info.flag_bits & ZIP_IS_ENCRYPTED and info.file_size <= LONGEST_LINK


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:*"):
            return True
    except tarfile.CompressionError as error:
        raise DataError(f"{path}: {error}; unpack it, and pack the folder") from None
    except tarfile.ReadError:
        return False


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


def _gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path))


def _bzip2(path: Path) -> IO[bytes]:
    return cast(IO[bytes], bz2.open(path))


def _xz(path: Path) -> IO[bytes]:
    return cast(IO[bytes], lzma.open(path))
