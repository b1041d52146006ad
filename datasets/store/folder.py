"""Stores objects as files under a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.protocol import StoreStatistics


class FolderStore:
    """Objects are files under a folder; see :class:`unbraid.datasets.store.protocol.Store`."""

    def __init__(self, root: Path, create: bool = False) -> None:
        self.root = root
        self.url = str(root)
        self.statistics = StoreStatistics()
        if create:
            with self._explained(""):
                root.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> bytes:
        with self._explained(key):
            content = (self.root / key).read_bytes()
        self.statistics.received(len(content))
        return content

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        with self._explained(key), (self.root / key).open("rb") as file:
            file.seek(start)
            content = file.read(length)
        if len(content) != length:
            raise DataError(f"{self.root / key}: ends {length - len(content)} bytes early; pack or copy it again")
        self.statistics.received(length)
        return memoryview(content)

    def put(self, key: str, content: bytes) -> None:
        with self._replacing(key) as temporary:
            temporary.write_bytes(content)

    def put_new(self, key: str, content: bytes) -> bool:
        target = self.root / key
        with self._explained(key):
            target.parent.mkdir(parents=True, exist_ok=True)
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

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def keys(self, prefix: str = "") -> list[str]:
        folder = self.root / prefix.rpartition("/")[0]
        names = (p.relative_to(self.root).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".partial")
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self.root / key
        with self._explained(key):
            path.unlink(missing_ok=True)
            if path.parent != self.root and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def close(self) -> None:
        pass

    @contextmanager
    def _replacing(self, key: str) -> Iterator[Path]:
        """Yield a temporary file beside the target, which replaces the target when it is complete."""
        target = self.root / key
        with self._explained(key):
            target.parent.mkdir(parents=True, exist_ok=True)
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
            raise DataError(f"{self.root / key}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.root / key}: {error.strerror or error}") from error
