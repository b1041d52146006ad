"""What rank 0 looks at between updates: a requested stop, a takeover by another launch, a preemption of a node.

One class watches all three. The first two come from the same listing of the run's storage, and any of the three may ask the
loop for a checkpoint, which is written once although two of them ask at the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.datasets.store.lease import Holder, read_requests
from unbraid.datasets.threads import WatchedThread
from unbraid.trainers.errors import SupersededError


class RunMonitor:
    """Polls the storage and the cluster in a thread, so that training never waits for either.

    Args:
        store: of the run.
        generation: of the launch's lease; 0 is a launch without one, which cannot be stopped or superseded from the storage.
        preemption: returns when a node of the worker group will be taken away, in seconds since the epoch; None for no node.

    Attributes:
        stop_requested: whether this launch has been asked to stop.
        superseded_by: the launch that has taken the run over, if one has.
        deadline: seconds since the epoch at which a node will be taken away; None when none will.
    """

    POLL_SECONDS = 2.0
    PAUSE_SECONDS = 10.0
    """So long before a node is taken away no update is begun: the last checkpoint is written, and training pauses."""

    def __init__(self, store: Store, generation: int = 0, preemption: Callable[[], float | None] = lambda: None) -> None:
        self.stop_requested = False
        self.superseded_by: Holder | None = None
        self.deadline: float | None = None
        self._store = store
        self._generation = generation
        self._preemption = preemption
        self._known_deadline: float | None = None
        self._answered = 0
        self._ended = threading.Event()
        self._thread = WatchedThread(self._poll, "monitor-run")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def require_lease(self) -> None:
        """Check, before anything is written, that this launch still trains the run.

        Raises:
            SupersededError: when another launch has taken the run over.
            ThreadError: when nobody watches the storage any more.
        """
        self._thread.raise_error()
        if self.superseded_by is not None:
            raise SupersededError(f"this run has been taken over: {self.superseded_by} trains it now")

    @property
    def must_pause(self) -> bool:
        """Whether a node will be taken away so soon that no update should be begun."""
        return self.deadline is not None and self.deadline - time.time() < self.PAUSE_SECONDS

    def take_checkpoint_request(self) -> bool:
        """Whether a checkpoint is wanted out of turn. Each reason is answered once: a preemption, its near end, a stop."""
        reasons = (self.deadline is not None) + self.must_pause + self.stop_requested
        requested, self._answered = reasons > self._answered, max(reasons, self._answered)
        return requested

    def wait_for_preemption(self) -> None:
        """Wait until the node is taken away, which ends this process; return when it was not."""
        assert self.deadline is not None
        self._ended.wait(max(self.deadline - time.time(), 0) + 2 * self.PAUSE_SECONDS)
        self.deadline, self._answered = None, 0

    def _poll(self) -> None:
        while not self._ended.wait(self.POLL_SECONDS):
            deadline = self._preemption()
            if deadline is not None and deadline != self._known_deadline:
                self._known_deadline = self.deadline = deadline
            if not self._generation:
                continue
            try:
                self._read_storage()
            except DataError:
                continue  # the storage is away; training meets that where it needs the storage

    def _read_storage(self) -> None:
        stop, superseded_by = read_requests(self._store, self._generation)
        self.stop_requested = self.stop_requested or stop
        self.superseded_by = superseded_by or self.superseded_by
