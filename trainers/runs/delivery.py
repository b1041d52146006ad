"""Delivery of a run's small files to its storage, which may be away for a while."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.datasets.store.retry import FAST_RETRY


class Outage:
    """The time during which the storage does not accept writes; shared by everything that is delivered to it.

    Args:
        on_event: called with kind and message when an outage begins and when it ends.
    """

    def __init__(self, on_event: Callable[[str, str], None]) -> None:
        self._on_event = on_event
        self._since: float | None = None
        self._lock = threading.Lock()

    def begin(self, error: DataError) -> None:
        """Report an outage, unless one has begun already."""
        with self._lock:
            if self._since is not None:
                return
            self._since = time.monotonic()
        self._on_event("storage_away", f"{error}; training goes on, and this is written later")

    def end(self) -> None:
        """Report that the storage accepts writes again, if there was an outage."""
        with self._lock:
            if self._since is None:
                return
            seconds, self._since = time.monotonic() - self._since, None
        self._on_event("storage_back", f"after {seconds:.0f} s")


class Delivery:
    """Writes objects in the order in which they were added; objects that a server does not accept stay for the next time.

    Args:
        store: of the run; its own retries are used only where the caller must wait.
        guard: called before anything is written; raises where this process must not write any more.
        outage: to which failures of a server are reported.
    """

    def __init__(self, store: Store, guard: Callable[[], None], outage: Outage) -> None:
        self._store = store
        self._fast_retry = open_store(store.url, backoff=FAST_RETRY)
        self._guard = guard
        self._outage = outage
        self._undelivered: dict[str, bytes | Path] = {}
        self._lock = threading.Lock()

    def add(self, key: str, content: bytes | Path) -> None:
        """Add an object, or a file that is read when it is delivered; an undelivered one of that key is replaced."""
        with self._lock:
            self._undelivered[key] = content

    @property
    def is_complete(self) -> bool:
        """Whether everything that was added is in the storage."""
        return not self._undelivered

    def deliver(self, must: bool = False) -> None:
        """Write what was added.

        Args:
            must: retry as long as the store does, and fail then. Otherwise a server that fails is tried again next time.

        Raises:
            DataError: when a disk fails, or a server that must answer.
        """
        self._guard()
        store = self._store if must else self._fast_retry
        try:
            while (first := self._first()) is not None:
                key, content = first
                if isinstance(content, Path):
                    store.put_file(key, content)
                else:
                    store.put(key, content)
                self._forget(key, content)
                self._outage.end()
        except DataError as error:
            if must or isinstance(store, FolderStore):
                raise
            self._outage.begin(error)

    def _first(self) -> tuple[str, bytes | Path] | None:
        with self._lock:
            return next(iter(self._undelivered.items()), None)

    def _forget(self, key: str, content: bytes | Path) -> None:
        """Remove what was delivered, unless the key was added again meanwhile."""
        with self._lock:
            if self._undelivered.get(key) is content:
                del self._undelivered[key]
