"""Temporary folders for files on their way to the storage. The folder of a killed process is removed by the next one."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbraid.datasets.untrusted.folders import opened_folder, own_temporary_folder

_PREFIX = "unbraid-scratch-"
_YOUNG_SECONDS = 60.0
"""A younger folder is not removed, because it is locked only a moment after it is made."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make an empty folder in this user's private one below TMPDIR, and remove it after the block.

    A process locks its folder, and the operating system releases the lock however the process ends. So a folder without a lock
    is left over from a process that has ended, and is removed here.

    Raises:
        DataError: when somebody else holds the name of the private folder.
    """
    private = own_temporary_folder()
    _remove_left_over(private)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=private) as name, opened_folder(Path(name)) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Path(name)


def _remove_left_over(private: Path) -> None:
    for folder in private.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.lstat().st_mtime < _YOUNG_SECONDS:
                continue
            with opened_folder(folder) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # it is locked, no folder, or gone
