"""The operations of an object store, which :mod:`.folder` and :mod:`.s3` implement, and its statistics."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Protocol

from unbraid.datasets.errors import DataError

LARGEST_GET = 64 << 20
"""Bytes that are read of an object whose size nobody knows: whoever can write to a store must not fill a reader's memory."""


class AbsentError(DataError):
    """There is no such object, folder or bucket."""


class RefusedError(DataError):
    """A store has refused a request, and would refuse it again."""


class UnconditionalError(DataError):
    """A store cannot write an object only where there is none."""


class StoreStatistics:
    """Counts what a store has transferred, over all threads that use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.bytes = 0
        self.retries: Counter[str] = Counter()

    def received(self, count: int) -> None:
        """Count one answered request and the bytes read from it."""
        with self._lock:
            self.requests += 1
            self.bytes += count

    def retried(self, cause: str) -> None:
        """Count a transfer that failed for ``cause`` and is repeated."""
        with self._lock:
            self.retries[cause] += 1


def require_size(where: str, size: int, limit: int) -> None:
    """Check that an object is small enough to be read whole.

    Raises:
        DataError: when it is larger than ``limit`` bytes.
    """
    if size > limit:
        raise DataError(f"{where}: has {size:,} bytes, at most {limit:,} are read; is it what this program wrote?")


class Store(Protocol):
    """Objects under one URL. Keys are relative, with forward slashes. Writes are atomic: complete or absent."""

    url: str
    statistics: StoreStatistics

    def get(self, key: str, limit: int = LARGEST_GET) -> bytes:
        """Read a whole object.

        Args:
            limit: bytes; none of a larger object is read.

        Raises:
            DataError: when it is missing, larger, or cannot be read.
        """
        ...

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        """Read ``length`` bytes from ``start``.

        Raises:
            DataError: when the object is missing, shorter, or cannot be read.
        """
        ...

    def put(self, key: str, content: bytes) -> None:
        """Write a small object, over an existing one of that name."""
        ...

    def put_new(self, key: str, content: bytes) -> bool:
        """Write a small object unless one of that name exists, and return whether it was written.

        Of several callers one succeeds. A store that cannot promise this writes nothing under that key.

        Raises:
            UnconditionalError: when the store has no conditional writes.
        """
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write the content of a file, in several parts when it is large.

        Raises:
            DataError: when the file cannot be read, or the store does not acknowledge what was written.
        """
        ...

    def move(self, key: str, to: str) -> None:
        """Give an object another key, over an existing one of that name. On S3 it is copied by the server, then deleted.

        Raises:
            AbsentError: when there is no such object.
            RefusedError: when the store does not allow it, or does not copy objects of that size; the object is where it was,
                and may be under both keys.
        """
        ...

    def exists(self, key: str) -> bool:
        """Return whether the object exists."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """Return all keys that start with ``prefix``, sorted."""
        ...

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Return the bytes of each object whose key starts with ``prefix``, from a listing."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, if it exists.

        Raises:
            RefusedError: when the store does not allow it, see :func:`unbraid.datasets.store.tidying.discard`.
        """
        ...

    def close(self) -> None:
        """Stop repeating failed requests: their results are no longer needed."""
        ...
