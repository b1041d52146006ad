"""A run's file for TensorBoard. It is decoration: whatever fails with it, the run goes on without."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from unbraid.datasets.untrusted.text import in_one_line


class Board:
    """Writes scalars and pictures to an event file, in the calling thread.

    tensorboardX's own ``SummaryWriter`` writes from a thread, whose error nobody can catch, and again when the process ends.

    Args:
        folder: of the event file.
        step: that training continues from; what earlier launches wrote after it is not shown.
        report: called once, with why, when the file cannot be written; what comes later is left out.
    """

    def __init__(self, folder: Path, step: int, report: Callable[[str], None]) -> None:
        self._report = report
        self._writer: Any = None
        self._failed = False
        self._try(lambda: self._open(folder, step))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a number."""
        from tensorboardX.summary import scalar

        self._try(lambda: self._add(step, summary=scalar(name, value)))

    def picture(self, name: str, picture: Tensor, step: int) -> None:
        """Add a picture, (3, H, W) uint8."""
        from tensorboardX.summary import image

        self._try(lambda: self._add(step, summary=image(name, picture.numpy())))

    def flush(self) -> None:
        """Pass on to the disk what was added."""
        self._try(lambda: self._writer.flush())

    def close(self) -> None:
        """Flush, and close the file."""
        self._try(lambda: self._writer.close())

    def _open(self, folder: Path, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        self._add(step + 1, session_log=SessionLog(status=SessionLog.START))

    def _add(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))

    def _try(self, action: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            action()
        except (OSError, ValueError) as error:
            self._failed, self._writer = True, None
            self._report(f"TensorBoard's file cannot be written ({in_one_line(error)}); the run goes on without it")
