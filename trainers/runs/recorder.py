"""Recorders: what a run leaves in its storage while it trains. Rank 0 records; the recorder of every other rank is silent."""

import json
import queue
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress
from typing import Any, Protocol, Self

from torch import Tensor

from unbraid.datasets.passwords import without_password
from unbraid.datasets.store import FolderStore, Store
from unbraid.datasets.threads import WatchedThread
from unbraid.trainers.runs.board import Board
from unbraid.trainers.runs.delivery import Delivery, Outage
from unbraid.trainers.runs.events import event_entry
from unbraid.trainers.runs.pictures import png
from unbraid.trainers.runs.record import METRICS_KEY, scan_metrics
from unbraid.trainers.runs.scratch import scratch_folder

FLUSH_SECONDS = 5.0
Line = dict[str, Any]
"""A line of ``metrics.jsonl``: ``step``, ``time`` and numbers by metric name."""


class Recorder(Protocol):
    """What the loop needs of a recorder; a context manager that flushes when it is left."""

    def scalars(self, step: int, values: Mapping[str, float]) -> Line:
        """Record numbers of one step; returns the line as written."""
        ...

    def pictures(self, step: int, pictures: Mapping[str, Tensor], folder: str) -> None:
        """Record pictures, (3, H, W) uint8 on the CPU by name, as ``folder/name/step.png``; returns at once."""
        ...

    def event(self, kind: str, message: str) -> None:
        """Record an event that a person should know of, and print it; may be called from any thread."""
        ...

    def flush(self, must: bool = False) -> None:
        """Write what was recorded to the storage.

        Args:
            must: also wait for the pictures, and for a server that does not answer.
        """
        ...

    def lines(self) -> list[Line]:
        """All lines recorded so far, earlier launches of the run included."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...


class SilentRecorder:
    """The recorder of all ranks but the first: it writes nothing."""

    def scalars(self, step: int, values: Mapping[str, float]) -> Line:
        """The line that would have been written."""
        return {"step": step, "time": round(time.time(), 3), **values}

    def pictures(self, step: int, pictures: Mapping[str, Tensor], folder: str) -> None:
        """Do nothing."""

    def event(self, kind: str, message: str) -> None:
        """Do nothing."""

    def flush(self, must: bool = False) -> None:
        """Do nothing."""

    def lines(self) -> list[Line]:
        """No lines."""
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        pass


class StorageRecorder:
    """Rank 0's recorder: scalars as JSON lines and in TensorBoard, pictures as PNG and in TensorBoard, events.

    When training continues from a checkpoint, the lines after that checkpoint are removed, so that no step is recorded twice.
    Lines that cannot be read are removed too, and an event says so: the file is whole afterwards.
    Lines and events are written by :meth:`flush`. Pictures are encoded and written by a thread, because the other ranks wait
    in an all-reduce while rank 0 waits for the storage.

    Args:
        store: of the run.
        step: that training continues from.
        guard: called before anything is written; raises where this process must not write any more.
    """

    def __init__(self, store: Store, step: int, guard: Callable[[], None] = lambda: None) -> None:
        outage = Outage(self.event)
        self._delivery = Delivery(store, guard, outage)
        self._picture_delivery = Delivery(store, guard, outage)
        metrics = scan_metrics(store)
        self._lines: list[Line] = [line for line in metrics.lines if line["step"] <= step]
        self._has_new_lines = True
        self._flushed = 0.0
        self._opened = ExitStack()
        self._is_local = isinstance(store, FolderStore)
        folder = store.root if isinstance(store, FolderStore) else self._opened.enter_context(scratch_folder())
        self._board_folder = folder / "tensorboard"
        self._board = Board(self._board_folder, step, lambda why: self.event("board_failed", why))
        self._failure: Exception | None = None
        self._pictures: queue.Queue[tuple[int, Mapping[str, Tensor], str] | None] = queue.Queue()
        self._picture_thread = WatchedThread(self._write_pictures, "write-pictures")
        self._picture_thread.start()
        if metrics.damaged:
            further = len(metrics.damaged) - 1
            self.event("metrics_damaged", f"{metrics.damaged[0]}{f' (and {further} more)' if further else ''}: left out")

    def scalars(self, step: int, values: Mapping[str, float]) -> Line:
        """Record numbers of one step; returns the line as written."""
        line = {"step": step, "time": round(time.time(), 3), **values}
        self._lines.append(line)
        self._has_new_lines = True
        for name, value in values.items():
            self._board.scalar(name, value, step)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()
        return line

    def pictures(self, step: int, pictures: Mapping[str, Tensor], folder: str) -> None:
        """Record pictures, (3, H, W) uint8 on the CPU by name, as ``folder/name/step.png``; returns at once.

        Raises:
            DataError: when earlier pictures could not be written to a disk.
        """
        self._raise_failure()
        self._pictures.put((step, dict(pictures), folder))

    def event(self, kind: str, message: str) -> None:
        """Record an event that a person should know of, and print it; may be called from any thread."""
        message = without_password(message)
        print(f"{kind}: {message}", file=sys.stderr, flush=True)  # noqa: T201  # a worker's output is the job's log
        self._delivery.add(*event_entry(kind, message))

    def flush(self, must: bool = False) -> None:
        """Write all lines, events and TensorBoard's files to the storage; a server that does not answer gets them later.

        Args:
            must: wait for the pictures too, and for the server as long as the store retries.

        Raises:
            DataError: when a disk has failed, or a server that must answer.
        """
        try:
            if must:
                self._pictures.join()
                self._picture_delivery.deliver(must=True)
        finally:
            self._write_lines(must)
        self._raise_failure()

    def _write_lines(self, must: bool) -> None:
        if self._has_new_lines:
            self._delivery.add(METRICS_KEY, b"".join(json.dumps(line).encode() + b"\n" for line in self._lines))
            self._has_new_lines = False
        self._board.flush()
        for file in () if self._is_local else sorted(self._board_folder.glob("*")):
            self._delivery.add(f"tensorboard/{file.name}", file)
        self._delivery.deliver(must)
        if not self._picture_delivery.is_complete and self._pictures.empty():
            self._pictures.put((0, {}, ""))  # lets the thread try again what a server did not accept
        self._flushed = time.monotonic()

    def lines(self) -> list[Line]:
        """All lines recorded so far, earlier launches of the run included."""
        return list(self._lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Write everything and end the thread, however training ended; an earlier error is not hidden by a later one."""
        try:
            self._pictures.join()
            with suppress(Exception) if kind is not None else nullcontext():
                self.flush(must=kind is None)
        finally:
            self._pictures.put(None)
            self._picture_thread.join()
            self._board.close()
            self._opened.close()

    def _write_pictures(self) -> None:
        """Encode and write pictures until None is taken; an error is raised in the training thread, at its next call."""
        while (taken := self._pictures.get()) is not None:
            try:
                self._encode(*taken)
                if self._pictures.empty():  # an outage is met once, not once for each call that waits here
                    self._picture_delivery.deliver()
            except Exception as error:
                self._failure = error
            finally:
                self._pictures.task_done()

    def _encode(self, step: int, pictures: Mapping[str, Tensor], folder: str) -> None:
        for name, picture in pictures.items():
            self._picture_delivery.add(f"{folder}/{name}/{step:08d}.png", png(picture))
            self._board.picture(f"{folder}/{name}", picture, step)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
