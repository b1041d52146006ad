"""Temporary folders for files on their way to the storage. The folder of a killed process is removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "unbraid-scratch-"
_YOUNG_SECONDS = 60.0
"""A younger folder is not removed, because it is locked only a moment after it is made."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make an empty folder below TMPDIR, and remove it after the block.

    A process locks its folder, and the operating system releases the lock however the process ends. So a folder without a lock
    is left over from a process that has ended, and is removed here.
    """
    _remove_left_over()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, _opened(Path(name)) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Path(name)


def _remove_left_over() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:
                continue
            with _opened(folder) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # it is locked, another user's, or gone


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
