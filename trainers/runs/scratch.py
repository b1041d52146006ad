"""Folders for what a process writes down on its way to the storage; one that is killed leaves its own, the next clears up."""

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
"""A folder is locked a moment after it is made."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder where temporary files go (TMPDIR), which is gone after the block.

    A process holds a lock on its folder, which the system lets go of however the process ends: a folder that nobody holds is
    left over, and removed here.
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
            continue  # it is held, another user's, or gone


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
