"""Processes that pack or index in parallel: what takes arithmetic in Python is no faster in threads."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from unbraid.datasets.errors import DataError


def worker_processes(count: int) -> ProcessPoolExecutor:
    """Start processes that leave Ctrl-C to the one that started them."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_ignore_interrupts)


@contextmanager
def lost_workers_explained() -> Iterator[None]:
    """Turn the error of a worker process that has died into one that says what to do.

    Raises:
        DataError: in place of that error.
    """
    try:
        yield
    except BrokenProcessPool:
        raise DataError(
            "a worker process was ended from outside (out of memory?): use fewer with --threads; the same command goes on"
        ) from None


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
