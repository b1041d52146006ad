"""What a place for objects can do, and the one that is a folder. The other is :mod:`unbraid.datasets.store.s3`."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Protocol


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
