"""What a place for objects can do, and the one that is a folder. The other is :mod:`datasets.s3`."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from datasets.errors import DataError
from datasets.retry import Backoff


class StoreStatistics:
    """What a store has transferred; counted by all threads that use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.bytes = 0
        self.retries: Counter[str] = Counter()

    def received(self, count: int) -> None:
        """One request answered, and so many bytes of it read."""
        with self._lock:
            self.requests += 1
            self.bytes += count

    def retried(self, cause: str) -> None:
        """A transfer failed for ``cause`` and is tried again."""
        with self._lock:
            self.retries[cause] += 1


class Store(Protocol):
    """Objects under one URL. Keys are relative, with forward slashes. Writes are atomic: whole or not at all."""

    url: str
    statistics: StoreStatistics

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            DataError: when it is missing or cannot be read.
        """
        ...

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        """``length`` bytes from ``start``.

        Raises:
            DataError: when the object is missing, shorter, or cannot be read.
        """
        ...

    def put(self, key: str, content: bytes) -> None:
        """Write a small object."""
        ...

    def put_new(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one of that name; whether it was written. Of several callers one succeeds."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write a file, in parts where it is large."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """All keys that start with ``prefix``, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""
        ...

    def close(self) -> None:
        """Nobody waits any more for what is being read: failed reads are not tried again."""
        ...


def open_store(url: str, create: bool = False, backoff: Backoff | None = None) -> Store:
    """The store at ``s3://bucket/prefix`` or at a folder.

    Args:
        create: make the folder or the bucket when it is missing.
        backoff: for how long a server that fails is asked again; default :func:`datasets.retry.default_backoff`.

    Raises:
        DataError: on a malformed URL, a missing bucket, wrong keys or a server that does not answer.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return FolderStore(Path(url).expanduser(), create)
    if scheme == "file":
        return FolderStore(Path(rest), create)
    if scheme != "s3":
        raise DataError(f"{url}: unknown kind of store {scheme!r}; use s3://bucket/prefix or a folder")
    bucket, _, prefix = rest.partition("/")
    if len(bucket) < 3:
        raise DataError(f"{url}: {bucket!r} is not a bucket name (at least 3 letters); use s3://bucket/prefix")
    from datasets.s3 import S3Store

    return S3Store(bucket, prefix.strip("/"), create, backoff)


class FolderStore:
    """Files under a folder."""

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
        """A temporary file beside the target that takes its name when it is whole."""
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
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.root / key}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.root / key}: {error.strerror or error}") from error
