"""Ends a process and all that it started."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

STOP_SECONDS = 20.0
"""Time from SIGTERM to the first process until SIGKILL."""


def stop_tree(pid: int) -> None:
    """End a process and all that it started: by SIGTERM to it, then to all, at last by SIGKILL."""
    import psutil

    try:
        parent = psutil.Process(pid)
        processes = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    parent.send_signal(signal.SIGTERM)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        processes = _left(processes, STOP_SECONDS / 2)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                end(process)
    _left(processes, 5)


def _left(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until processes have ended, for so many seconds at most.

    Returns:
        Those that are still alive. A zombie is not: in many containers nobody reaps it.
    """
    until = time.monotonic() + seconds
    while True:
        processes = [process for process in processes if _lives(process)]
        if not processes or time.monotonic() > until:
            return processes
        time.sleep(0.1)


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
