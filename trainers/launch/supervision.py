"""The driver's side of a Ray Train run: one attempt with one controller, the conditions that end it, and its records."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.train import UserCallback, WorkerGroupError

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.threads import WatchedThread
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import RepeatedLossError, RunError, SupersededError, UnsavedError
from unbraid.trainers.launch.failure import read_failure, write_failure
from unbraid.trainers.launch.ray_internals import PROCESS_GROUP_SHUTDOWN_SECONDS, split_worker_info
from unbraid.trainers.runs.checkpoint import complete_steps
from unbraid.trainers.runs.events import event_entry
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.runs.telemetry import RayMetrics

if TYPE_CHECKING:
    from unbraid.datasets.store.lease import Lease
    from unbraid.trainers.config.schema import SystemConfig
    from unbraid.trainers.loop import Listener

FOLLOW_SECONDS = 2.0
"""Pause between two looks at a run."""
SAME_END_SECONDS = 10.0
"""After one worker has met a fatal error, the others get so long to meet it too and end in order."""
STOP_SECONDS = 25.0
"""A run that was asked to stop gets so long for its checkpoint: less than the 30 s that Kubernetes gives a pod."""
WAITING_SECONDS = 30.0
"""Pause between two messages about resources that a run waits for."""
SHUTDOWN_SECONDS = 5
"""Workers that are left of a group may hang in an all-reduce. So long, not 30 s, Ray Train tries to end them in order."""


@dataclass
class Attempt:
    """One Ray Train controller with its worker groups, from its start to its end.

    Args:
        fit: starts the controller and waits for its end.
        follower: of the run; the same for all attempts.
        conditions: that end the run; the same for all attempts.
        run_name: for the driver's metrics.
        owns_ray: whether Ray may be shut down, which ends the workers.

    Attributes:
        error: that the attempt ended with, if it did.
    """

    fit: Callable[[], object]
    follower: RunFollower
    conditions: EndConditions
    run_name: str
    owns_ray: bool
    error: BaseException | None = None

    def run(self) -> None:
        """Run until the controller ends, which may be with an :attr:`error`.

        Raises:
            RunError: when one of the end conditions holds. The workers are ended, where Ray may be shut down.
        """
        thread = FitThread(self.fit)
        try:
            with RayMetrics(self.run_name) as metrics:
                while not thread.wait(FOLLOW_SECONDS):
                    self.follower.update()
                    metrics({"run/silence_seconds": self.follower.silence, "run/waiting": self.follower.waiting})
                    self.conditions.raise_if_met(self.follower.waited, thread.wait)
            self.follower.update()
            self.conditions.raise_if_met(0, thread.wait)
            self.error = thread.error
        finally:
            if not thread.wait(0) and self.owns_ray:
                ray.shutdown()

    @property
    def lost_controller(self) -> BaseException | None:
        """The error of the controller itself; None when the attempt ended well or its worker group was lost too often.

        An example is a worker's node that is out of memory: Ray 2.60's controller does not expect that error in its clean-up.
        """
        return None if isinstance(self.error, WorkerGroupError) else self.error

    def raise_error(self, config: SystemConfig) -> None:
        """Raise a RunError when the attempt ended with an error."""
        if self.error is None:
            return
        what = "could not be started or kept up"
        if isinstance(self.error, WorkerGroupError):
            what = f"was lost after {config.run.max_failures} replacements of its workers"
        lines = [line for line in str(self.error).splitlines() if line.strip()]
        raise RunError(
            f"run {config.run.name} {what}: {lines[-1] if lines else type(self.error).__name__}\n"
            "Repeat the command to go on from its newest checkpoint."
        ) from self.error


class FitThread:
    """Runs Ray Train's ``fit`` in a thread. In the main thread ``fit`` takes over Ctrl-C, and cannot be left before it ends.

    Attributes:
        error: that ``fit`` ended with, if it did.
    """

    def __init__(self, fit: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._fit = fit
        self._thread = WatchedThread(self._run, "fit")
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for ``fit`` to end, for so many seconds at most; returns whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._fit()
        except BaseException as error:  # raised again by Attempt.raise_error
            self.error = error


SAME_DEATHS = 3
"""A group that has died so often of one cause, without a new checkpoint, does so again."""
NODE_LOST = ("node was terminated", "node has died", "node is dead", "node was drained", "preempt")
"""What Ray says of workers whose node was lost."""
_VARYING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|[0-9]+")
"""Addresses, identifiers, process ids, sizes."""
LONGEST_CAUSE = 300
"""Characters of a cause; what follows, such as a list of processes, differs each time."""


class RunFollower:
    """Passes a run's metrics on as they appear in its storage. Until the first worker starts, prints what is waited for.

    Args:
        listener: called with each new line.
        missing_resources: describes what the workers need and what is free.

    Attributes:
        waiting: whether no worker has started yet.
    """

    def __init__(self, store: Store, listener: Listener, missing_resources: Callable[[], str]) -> None:
        self.waiting = True
        self._store = store
        self._listener = listener
        self._missing_resources = missing_resources
        self._starts = self._read_starts()
        self._lines = len(read_metrics(store))
        self._created = self._printed = self._newest_line = time.monotonic()

    @property
    def waited(self) -> float:
        """Seconds without a worker; 0 once one has started."""
        return time.monotonic() - self._created if self.waiting else 0.0

    @property
    def silence(self) -> float:
        """Seconds since a new line of metrics was read."""
        return time.monotonic() - self._newest_line

    def update(self) -> None:
        """Read the storage once and pass new lines on."""
        try:
            self.waiting = self.waiting and self._read_starts() == self._starts
            lines = read_metrics(self._store)
        except DataError:
            return  # the storage is away; the next look reads what it holds
        if self.waiting and time.monotonic() - self._printed > WAITING_SECONDS:
            self._printed = time.monotonic()
            print(  # noqa: T201  # beside the progress, which is printed too
                f"no worker yet after {self.waited:.0f} s: {self._missing_resources()}", file=sys.stderr, flush=True
            )
        for line in lines[self._lines :]:
            self._newest_line = time.monotonic()
            self._listener(line)
        self._lines = len(lines)  # fewer than before, when a new worker group has removed the lines after its checkpoint

    def _read_starts(self) -> int:
        starts: int = read_run(self._store).get("starts", 0)
        return starts


class EndConditions:
    """Conditions that end a run while its workers are alive.

    Args:
        store: of the run.
        launch: identifier of the launch; the fatal errors of other launches do not count.
        lease: of the launch, if it has one.
        most_waiting: seconds that the first worker is waited for; None is any number.
    """

    def __init__(self, store: Store, launch: str, lease: Lease | None, most_waiting: float | None) -> None:
        self._store = store
        self._launch = launch
        self._lease = lease
        self._most_waiting = most_waiting

    def raise_if_met(self, waited: float, wait_for_fit: Callable[[float], bool]) -> None:
        """Check all conditions.

        Args:
            waited: seconds without a worker.
            wait_for_fit: waits so many seconds for Ray Train to end.

        Raises:
            RunError: caused by the fatal error of a worker, by another launch that has taken the run over, or by a stop
                without a checkpoint in time; or because no worker has started.
        """
        try:
            failure = read_failure(self._store, self._launch)
        except DataError:
            failure = None  # the storage is away
        if failure is not None:
            wait_for_fit(SAME_END_SECONDS)
            raise RunError(str(failure)) from failure
        if self._most_waiting is not None and waited > self._most_waiting:
            raise RunError(
                f"no worker could start within run.wait_minutes={self._most_waiting / 60:g}: free resources, lower "
                "run.workers, or wait longer"
            )
        if self._lease is None:
            return
        if self._lease.superseded_by is not None:
            error = SupersededError(f"this run has been taken over: {self._lease.superseded_by} trains it now")
            raise RunError(str(error)) from error
        if self._lease.stop_requested and waited:
            stopped = UnsavedError("stopped as asked, before a worker had started")
            raise RunError(str(stopped)) from stopped
        if self._lease.seconds_since_stop > STOP_SECONDS:
            stopped = UnsavedError(f"stopped as asked; the workers did not end within {STOP_SECONDS:.0f} s")
            raise RunError(str(stopped)) from stopped


class WorkerLossLog(UserCallback):
    """Writes an event for each lost worker, with rank, node and step. Runs on Ray Train's controller.

    A group that dies of the same cause for the third time, without a new checkpoint between, would die of it for ever: the
    launch is ended. A node that is lost or taken away is no such cause.

    Args:
        url: of the run.
        launch: identifier of the launch.
    """

    def __init__(self, url: str, launch: str) -> None:
        self._url = url
        self._launch = launch
        self._deaths: list[tuple[str, int]] = []

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Write the events; Ray Train calls this before it replaces the worker group."""
        os.environ[PROCESS_GROUP_SHUTDOWN_SECONDS] = str(SHUTDOWN_SECONDS)
        store = open_store(self._url)
        with suppress(DataError):  # the storage is away
            self._end_if_repeated(store, worker_exceptions)
        try:
            lines = read_metrics(store)
            step = lines[-1]["step"] if lines else 0
            for rank, error in sorted(worker_exceptions.items()):
                store.put(*event_entry("worker_lost", f"rank {rank}, after update {step}{describe_loss(error)}"))
        except DataError as error:
            print(f"the loss of a worker could not be recorded: {error}", file=sys.stderr)  # noqa: T201

    def _end_if_repeated(self, store: Store, worker_exceptions: dict[int, Exception]) -> None:
        causes = {cause_of_death(error) for error in worker_exceptions.values()}
        if None in causes:  # the others have died of that
            self._deaths.clear()
            return
        cause = "; ".join(sorted(map(str, causes)))
        self._deaths.append((cause, max(complete_steps(store), default=0)))
        if len(self._deaths) >= SAME_DEATHS and len(set(self._deaths[-SAME_DEATHS:])) == 1:
            step = self._deaths[-1][1]
            where = f"the checkpoint of step {step}" if step else "the beginning"
            error = RepeatedLossError(
                f"workers have died {SAME_DEATHS} times of the same cause, each time after {where}: {cause}; remove the cause "
                "(memory: a smaller data.batch or data.prefetch_mb, or more workers), then repeat the command"
            )
            failure = RunError(str(error))
            failure.__cause__ = error
            write_failure(store, self._launch, failure)


def cause_of_death(error: Exception) -> str | None:
    """What a worker died of, in words that are the same each time; None where its node was lost or taken away."""
    message = split_worker_info(str(error))[0] or type(error).__name__
    if any(words in message.lower() for words in NODE_LOST):
        return None
    return _VARYING.sub("…", in_one_line(message, LONGEST_CAUSE))


def describe_loss(error: Exception) -> str:
    """``, on 10.0.0.7 (process 123): …``: where a worker ran, if Ray Train's error says so, and the error on one line."""
    message, node, pid = split_worker_info(str(error))
    where = f", on {node} (process {pid})" if node else ""
    return f"{where}: {in_one_line(message or type(error).__name__, 600)}"


def record_lost_controller(store: Store, error: BaseException) -> None:
    """Write an event that the worker group starts again under another controller."""
    with suppress(DataError):  # the storage is away
        store.put(*event_entry("controller_lost", in_one_line(error, 600)))


def free_resources(needed: Mapping[str, float]) -> str:
    """Describe what the workers need, what the cluster has, and what of it is free.

    Args:
        needed: resources of all workers by kind, such as ``CPU``.
    """
    total, free = ray.cluster_resources(), ray.available_resources()
    parts = [
        f"{number:g} {kind}s (the cluster has {total.get(kind, 0):g}, {free.get(kind, 0):g} free)"
        for kind, number in needed.items()
    ]
    return f"the workers need {' and '.join(parts)}; `ray status` says who holds the rest"
