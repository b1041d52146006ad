"""Files and folders of the services that only their owner may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from unbraid.datasets.errors import DataError


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file of mode 0600, completely or not at all."""
    temporary = path.with_name(f"{path.name}.partial")
    temporary.unlink(missing_ok=True)  # its mode may be another
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    temporary.replace(path)


def require_own_folder(folder: Path) -> None:
    """Check that a folder, and a link that leads to it, belong to this user.

    The services in it name the cluster that this user's code and data are sent to.

    Raises:
        DataError: when it belongs to somebody else, or is no folder.
    """
    for state in (folder.lstat(), folder.stat()):
        if state.st_uid != os.getuid():
            raise DataError(
                f"{folder}: belongs to user {state.st_uid}, not to you (user {os.getuid()}); its services are not used: remove "
                "it, or let UNBRAID_LOCAL_DIR name a folder of yours"
            )
    if not stat.S_ISDIR(folder.stat().st_mode):
        raise DataError(f"{folder}: is no folder; remove it, or let UNBRAID_LOCAL_DIR name a folder")


def make_private_folder(folder: Path, report: Callable[[str], None]) -> None:
    """Make a folder that only its owner can enter, or close an existing one to others.

    Args:
        report: called with a line when others could enter it until now.

    Raises:
        DataError: when it cannot be made, see also :func:`require_own_folder`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}: the services keep their files there") from error
    require_own_folder(folder)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        folder.chmod(0o700)
        report(f"{folder}: others could enter it (mode {mode:o}), now only you can (700)")
