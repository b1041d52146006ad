"""Folders with names that anybody can guess: used only where they belong to this user and nobody else can enter them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbraid.datasets.errors import DataError


def private_folder(path: Path) -> Path:
    """Make a folder that only this user can enter, or check that an existing one is such.

    Its parents must exist.

    Raises:
        DataError: when the path is a link or no folder, or belongs to another user, or others can enter it.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}: a private folder is made there; free it, or set TMPDIR") from error
    state = path.lstat()
    owner, mode = state.st_uid, stat.S_IMODE(state.st_mode)
    if not stat.S_ISDIR(state.st_mode):
        found = "a link" if stat.S_ISLNK(state.st_mode) else "no folder"
        raise DataError(f"{path}: is {found}, a folder of yours was expected; remove it, or set TMPDIR to a folder of yours")
    if owner != os.getuid():
        raise DataError(f"{path}: belongs to user {owner}, not to you (user {os.getuid()}); set TMPDIR to a folder of yours")
    if mode & 0o077:
        raise DataError(f"{path}: others can enter it (mode {mode:o}); `chmod 700` it, or remove it")
    return path


def own_temporary_folder() -> Path:
    """Return this user's private folder below the temporary one, ``unbraid-UID``.

    Raises:
        DataError: when somebody else holds that name.
    """
    return private_folder(Path(tempfile.gettempdir()) / f"unbraid-{os.getuid()}")


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Open a folder without following a link; a FIFO or a file of that name is refused at once.

    Raises:
        OSError: when the path is no folder, or a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
