"""Stores objects as files under a folder. Links below that folder are not followed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.protocol import LARGEST_GET, AbsentError, RefusedError, StoreStatistics, require_size
from unbraid.datasets.untrusted.keys import relative_key


class FolderStore:
    """Objects are files under a folder; see :class:`unbraid.datasets.store.protocol.Store`.

    The folder itself may be a link, because its user has named it. Whatever lies below may have come from somebody else: a link
    there is an error, so that nothing outside of the folder is read, written or deleted.
    """

    def __init__(self, root: Path, create: bool = False) -> None:
        self.root = root
        self.url = str(root)
        self.statistics = StoreStatistics()
        if create:
            with self._explained(""):
                root.mkdir(parents=True, exist_ok=True)

    def get(self, key: str, limit: int = LARGEST_GET) -> bytes:
        with self._opened(key) as file:
            require_size(str(self.root / key), os.fstat(file.fileno()).st_size, limit)
            content = file.read()
        self.statistics.received(len(content))
        return content

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        with self._opened(key) as file:
            missing = start + length - os.fstat(file.fileno()).st_size
            if missing > 0:
                raise DataError(f"{self.root / key}: ends {missing} bytes early; pack or copy it again")
            file.seek(start)
            content = file.read(length)
        self.statistics.received(length)
        return memoryview(content)

    def put(self, key: str, content: bytes) -> None:
        with self._replacing(key) as temporary:
            temporary.write_bytes(content)

    def put_new(self, key: str, content: bytes) -> bool:
        with self._explained(key):
            target = self._target(key)
            with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".partial") as temporary:
                temporary.write(content)
                temporary.flush()
                Path(temporary.name).chmod(0o644)
                try:
                    target.hardlink_to(temporary.name)
                except FileExistsError:
                    return False
        return True

    def put_file(self, key: str, path: Path) -> None:
        with self._replacing(key) as temporary:
            shutil.copyfile(path, temporary)

    def move(self, key: str, to: str) -> None:
        with self._explained(key):
            source = self._path(key)
            source.lstat()  # before a folder is made for it
            try:
                source.replace(self._target(to))
            except PermissionError as error:
                raise RefusedError(f"{source}: may not be moved: {error.strerror}") from error
            self._remove_empty_folders(source)

    def exists(self, key: str) -> bool:
        with self._explained(key):
            try:
                return stat.S_ISREG(self._path(key).lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        folder = self.root / prefix.rpartition("/")[0]
        if folder != self.root:
            self._path(folder.relative_to(self.root).as_posix())
        found: dict[str, int] = {}
        for where, folders, files in os.walk(folder):  # not into links
            folders[:] = [name for name in folders if not (Path(where) / name).is_symlink()]
            for path in (Path(where) / name for name in files):
                key, size = path.relative_to(self.root).as_posix(), _object_size(path)
                if size is not None and key.startswith(prefix):
                    found[key] = size
        return found

    def delete(self, key: str) -> None:
        with self._explained(key):
            path = self._path(key)
            try:
                path.unlink(missing_ok=True)
            except PermissionError as error:
                raise RefusedError(f"{path}: may not be deleted: {error.strerror}") from error
            self._remove_empty_folders(path)

    def close(self) -> None:
        pass

    def require_no_link(self, key: str) -> None:
        """Check that neither an object or folder nor any that it lies in is a link.

        Raises:
            DataError: naming the link.
        """
        self._path(key)

    def _remove_empty_folders(self, path: Path) -> None:
        """Remove the folders that an object was in, as far as nothing else is in them."""
        for folder in path.parents:
            if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                return
            folder.rmdir()

    def _path(self, key: str) -> Path:
        """Return where an object lies.

        Raises:
            DataError: when the key leaves the folder, or a part of it is a link.
        """
        try:
            parts = relative_key(key).split("/")
        except ValueError as error:
            raise DataError(f"{self.url}: {error}") from None
        path = self.root
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise DataError(
                    f"{path}: is a link, and links in a storage are not followed; put what it points to in its place"
                )
        return path

    def _target(self, key: str) -> Path:
        """Return where an object lies, after its folder has been made."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        """Open a regular file; a FIFO would not answer."""
        with self._explained(key):
            path = self._path(key)
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise DataError(f"{path}: is not a file")
                yield file

    @contextmanager
    def _replacing(self, key: str) -> Iterator[Path]:
        """Yield a temporary file beside the target, which replaces the target when it is complete."""
        with self._explained(key):
            target = self._target(key)
            descriptor, name = tempfile.mkstemp(dir=target.parent, suffix=".partial")
            os.close(descriptor)
            temporary = Path(name)
            try:
                yield temporary
                temporary.chmod(0o644)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn errors of the operating system into one that names the file."""
        try:
            yield
        except FileNotFoundError:
            raise AbsentError(f"{self.root / key}: no such file") from None
        except FileExistsError as error:
            raise DataError(f"{error.filename or self.root / key}: is a file, a folder was expected") from None
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "")
            raise DataError(f"{self.root / key}: {error.strerror or error}{remedy}") from error


_REMEDIES = {
    errno.ENOSPC: "; free space there and repeat the command, it goes on",
    errno.EDQUOT: "; free space there, or ask for a larger quota, and repeat the command, it goes on",
    errno.EROFS: "; name a place that can be written to",
    errno.EACCES: "; it belongs to somebody else: name a place of your own, or ask for the right to write there",
}
"""Of an error of the operating system: what to do."""


def _object_size(path: Path) -> int | None:
    """Return the bytes of a file; None when it is no object, or is gone meanwhile."""
    try:
        state = path.lstat()
    except OSError:
        return None
    return state.st_size if path.suffix != ".partial" and stat.S_ISREG(state.st_mode) else None
