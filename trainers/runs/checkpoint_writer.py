"""Write checkpoints while training goes on: one thread behind a queue of one place.

save ──► copy to host memory ──► [one place] ──► thread: write ──► complete
                                      ▲                   │
                                      └── a newer state ──┴── failed: report, pause, write the newest state
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Self

from torch import Tensor

from unbraid.datasets.store import FolderStore
from unbraid.datasets.threads import WatchedThread
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.monitor.divergence import all_finite, require_finite
from unbraid.trainers.runs.checkpoint import Checkpoints

AT_ONCE_SECONDS = 1.0
"""A state that is being written while Ctrl-C ends training gets so long; half a checkpoint does not exist."""
RETRY_SECONDS = 5.0
"""Pause after an attempt that failed."""

State = dict[str, Any]


class CheckpointWriter:
    """Writes checkpoints in a thread, from entering the block until it is left.

    :meth:`save` waits while an earlier state is being written. While a server fails it does not wait: training goes on, and the
    newest state takes the place of the one that could not be written.

    Args:
        checkpoints: of the run.
        retry_seconds: for how long a server that fails is tried again. A disk of this machine is not tried again.
        guard: called before a checkpoint is completed; raises where this process must not write any more.
        on_event: called with a message after each failed attempt, and after the success that follows failures.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        retry_seconds: float = 0.0,
        guard: Callable[[], None] = lambda: None,
        on_event: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.failures = 0
        self.checkpoints = checkpoints
        self._retry_seconds = retry_seconds
        self._guard = guard
        self._on_event = on_event
        self._seconds = 0.0
        self._completed = time.monotonic()
        self._changed = threading.Condition()  # held for every access to the five below
        self._next: tuple[int, State] | None = None  # the queue's one place
        self._is_writing = False
        self._is_retrying = False
        self._is_closing = False
        self._error: Exception | None = None
        self._thread = WatchedThread(self._run, "write-checkpoints")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Wait until the saved state is complete, unless Ctrl-C ended training; an earlier error is not hidden by a later."""
        at_once = kind is not None and issubclass(kind, KeyboardInterrupt)
        with suppress(Exception) if kind is not None else nullcontext():
            if not at_once:
                self.wait()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(AT_ONCE_SECONDS if at_once else None)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Copy the state to host memory and let the thread write it.

        Whether it is finite is computed on its device and copied with it: only good states take the place of earlier ones.

        Raises:
            DivergenceError: when the state is not finite; nothing is written.
            CheckpointError: when an earlier state could not be written.
            SupersededError: when another launch has taken the run over.
        """
        self._wait_until(lambda: self._is_idle or self._is_retrying)
        flags = all_finite(state)
        snapshot = _to_host(state)
        if not all(flag.item() for flag in flags):
            require_finite(_named_parts(snapshot))
        with self._changed:
            self._next = (step, snapshot)
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until the saved state is complete.

        Raises:
            CheckpointError: when it could not be written.
            SupersededError: when another launch has taken the run over.
        """
        self._wait_until(lambda: self._is_idle)

    def status(self) -> dict[str, float]:
        """Metrics for an operator: age of the newest checkpoint, seconds that it took, attempts that failed.

        Before the first checkpoint, the age is counted from when this object was made.
        """
        return {
            "checkpoint/age_seconds": time.monotonic() - self._completed,
            "checkpoint/seconds": self._seconds,
            "checkpoint/failures": float(self.failures),
        }

    @property
    def _is_idle(self) -> bool:
        return self._next is None and not self._is_writing

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._error is not None)
            if self._error is not None:
                raise self._error

    def _run(self) -> None:
        """The thread: write what is in the queue until the writer is closed or a state cannot be written."""
        error: Exception | None = None
        while error is None and (taken := self._take()) is not None:
            try:
                self._write(*taken)
            except Exception as caught:
                error = caught
            with self._changed:
                self._is_writing = self._is_retrying = False
                self._error = error  # raised in the training thread, at its next call
                self._changed.notify_all()

    def _write(self, step: int, state: State) -> None:
        """Write a state; after a failure that may pass, the newest one there is by then."""
        started = time.monotonic()
        earlier = self.failures
        while not self._attempt(step, state, started):
            time.sleep(RETRY_SECONDS)
            step, state = self._replacement() or (step, state)
        self._completed = time.monotonic()
        self._seconds = self._completed - started
        if self.failures > earlier:
            self._on_event(
                f"checkpoint of step {step} is complete, after {self.failures - earlier} failures in {self._seconds:.0f} s"
            )

    def _attempt(self, step: int, state: State, started: float) -> bool:
        """Try once; whether it succeeded.

        Raises:
            CheckpointError: when it is not tried again.
            SupersededError: when another launch has taken the run over.
        """
        try:
            self.checkpoints.write(step, state, self._guard)
        except CheckpointError as error:
            may_pass = not isinstance(self.checkpoints.store, FolderStore)  # a person must repair a disk of this machine
            if not may_pass or time.monotonic() - started >= self._retry_seconds:
                raise
            self.failures += 1
            self._on_event(f"{error}; trying again")
            with self._changed:
                self._is_retrying = True
                self._changed.notify_all()
            return False
        return True

    def _take(self) -> tuple[int, State] | None:
        """Wait for a state and take it; None when the writer is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._is_closing)
            self._is_writing = self._next is not None
            taken, self._next = self._next, None
            return taken

    def _replacement(self) -> tuple[int, State] | None:
        """The state that was saved since the last attempt, if any."""
        with self._changed:
            taken, self._next = self._next, None
            return taken


def _named_parts(state: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a state, such as each network, by name."""
    parts: dict[str, Any] = {}
    for name, part in state.items():
        parts |= {f"{name}.{inner}": value for inner, value in part.items()} if isinstance(part, Mapping) else {name: part}
    return parts


def _to_host(value: Any) -> Any:
    """Copy to host memory, so that training does not change it any more."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _to_host(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_host(inner) for inner in value)
    return value
