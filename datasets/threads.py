"""Threads that never end without a word: the only place that starts any."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class ThreadError(RuntimeError):
    """A background thread ended by an exception, which is the cause; what it did is not done any more."""


class WatchedThread(threading.Thread):
    """Runs a function in the background. An exception that it ends with is logged, and kept for whoever depends on the thread.

    Args:
        name: of the thread, in logs and errors.
        on_error: called with the exception, in the thread.

    Attributes:
        error: that the function ended with, if it did.
    """

    def __init__(
        self, target: Callable[[], object], name: str, on_error: Callable[[BaseException], object] = lambda error: None
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        self._function = target
        self._on_error = on_error

    def run(self) -> None:
        """Call the function."""
        try:
            self._function()
        except BaseException as error:
            self.error = error
            log.exception("thread %s has ended", self.name)
            self._on_error(error)

    def raise_error(self) -> None:
        """Raise a :class:`ThreadError` when the function has ended by an exception."""
        if self.error is not None:
            raise ThreadError(f"{self.name} has ended: {type(self.error).__name__}: {self.error}") from self.error
