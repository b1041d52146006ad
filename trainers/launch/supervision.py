"""The driver's side of a Ray Train run: follow it, hear what ends it, and leave it when it does not end by itself."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ray.train.v2.api.callback import UserCallback  # what ray.train gives, with its types
from ray.train.v2.api.exceptions import WorkerGroupError

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store, open_store
from unbraid.trainers.errors import FATAL, RunError, StoppedError, SupersededError, in_one_line
from unbraid.trainers.runs.events import event_entry
from unbraid.trainers.runs.record import read_metrics, read_run

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig
    from unbraid.trainers.loop import Listener
    from unbraid.trainers.runs.lease import Lease

FAILURE_KEY = "failure.json"
_WORKER_INFO = re.compile(r"Worker info: Worker\(.*?node_ip='(?P<ip>[^']*)',\s*pid=(?P<pid>\d+).*?\n\)", re.DOTALL)
FOLLOW_SECONDS = 2.0
LEAVE_SECONDS = 10.0
"""After one worker has ended a run, the others get so long to come to the same end."""
GRACE_SECONDS = 25.0
"""A run that was asked to stop gets so long for its checkpoint: less than the 30 s that Kubernetes gives a pod."""
WAITING_SECONDS = 30.0


class Fit:
    """Ray Train's ``fit`` in a thread: in the main one it takes Ctrl-C for itself, and can be left by no other way."""

    def __init__(self, fit: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(fit,), name="fit", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after so many seconds at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def lost_controller(self) -> BaseException | None:
        """What ended it, where that was Ray Train's own trouble rather than a worker group that was lost too often.

        Out of memory on a worker's node is one such: Ray 2.60's controller does not expect that error while it clears up.
        """
        return None if isinstance(self._error, WorkerGroupError) else self._error

    def raise_error(self, config: SystemConfig) -> None:
        """
        Raises:
            RunError: when the worker group was lost for good.
        """
        if self._error is not None:
            raise RunError(_last_words(self._error, config)) from self._error

    def _run(self, fit: Callable[[], object]) -> None:
        try:
            fit()
        except BaseException as error:  # it is raised again where the run is waited for
            self._error = error


class Follower:
    """Shows a run's metrics as they appear in its storage; until the first, says what is waited for.

    Args:
        waits_for: what the workers need and what is free, in words.
    """

    def __init__(self, store: Store, listener: Listener, waits_for: Callable[[], str]) -> None:
        self._store = store
        self._listener = listener
        self._waits_for = waits_for
        self._starts = self._read_starts()
        self._seen = len(read_metrics(store))
        self._since = self._told = self._heard = time.monotonic()
        self.waiting = True

    @property
    def waited(self) -> float:
        """Seconds without a worker."""
        return time.monotonic() - self._since if self.waiting else 0.0

    @property
    def silence(self) -> float:
        """Seconds since the run told of anything, as far as the storage can be read."""
        return time.monotonic() - self._heard

    def __call__(self) -> None:
        """Look once."""
        try:
            self.waiting = self.waiting and self._read_starts() == self._starts
            lines = read_metrics(self._store)
        except DataError:
            return  # the storage is away; what it holds is seen later
        if self.waiting and time.monotonic() - self._told > WAITING_SECONDS:
            self._told = time.monotonic()
            print(  # noqa: T201  # beside the progress, which is printed too
                f"no worker yet after {self.waited:.0f} s: {self._waits_for()}", file=sys.stderr, flush=True
            )
        self._seen = min(self._seen, len(lines))  # a replaced worker group went back to its checkpoint
        for line in lines[self._seen :]:
            self._heard = time.monotonic()
            self._listener(line)
        self._seen = len(lines)

    def _read_starts(self) -> int:
        starts: int = read_run(self._store).get("starts", 0)
        return starts


class Ending:
    """What ends a run although its worker group might still be there.

    Args:
        launch: whose failures count.
        deadline: seconds that a first worker is waited for; None is any number.
    """

    def __init__(self, store: Store, launch: str, lease: Lease | None, deadline: float | None) -> None:
        self._store = store
        self._launch = launch
        self._lease = lease
        self._deadline = deadline

    def raise_if_over(self, fit: Fit, waited: float) -> None:
        """
        Raises:
            RunError: caused by what a worker has met, by another launch that has taken the run over, or by a stop; or when no
                worker came.
        """
        try:
            failure = read_failure(self._store, self._launch)
        except DataError:
            failure = None  # the storage is away
        if failure is not None:
            fit.wait(LEAVE_SECONDS)
            raise RunError(str(failure)) from failure
        if self._deadline is not None and waited > self._deadline:
            raise RunError(
                f"no worker could start within run.wait_minutes={self._deadline / 60:g}: free resources, lower run.workers, "
                "or wait longer"
            )
        if self._lease is None:
            return
        if self._lease.superseded_by is not None:
            error = SupersededError(f"this run has been taken over: {self._lease.superseded_by} trains it now")
            raise RunError(str(error)) from error
        if self._lease.seconds_since_stop > GRACE_SECONDS:
            stopped = StoppedError(f"stopped as asked; no checkpoint was complete within {GRACE_SECONDS:.0f} s")
            raise RunError(str(stopped)) from stopped


class Losses(UserCallback):
    """On Ray Train's controller: notes each lost worker in the run's record, by rank, node and step.

    Args:
        url: of the run.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called by Ray Train before it replaces the worker group."""
        # those left of it may hang in a collective, out of which they cannot be led in order; Ray Train would try for 30 s
        os.environ["TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S"] = "5"
        store = open_store(self._url)
        try:
            lines = read_metrics(store)
            step = lines[-1]["step"] if lines else 0
            for rank, error in sorted(worker_exceptions.items()):
                store.put(*event_entry("worker_lost", f"rank {rank}, after update {step}{_what_happened(error)}"))
        except DataError as error:
            print(f"the loss of a worker could not be recorded: {error}", file=sys.stderr)  # noqa: T201


def _what_happened(error: Exception) -> str:
    """``, on 10.0.0.7 (process 123): …``: Ray Train's error, its description of the worker cut down to where that ran."""
    where = _WORKER_INFO.search(str(error))
    if where is None:
        return f": {in_one_line(error, 600)}"
    return f", on {where['ip']} (process {where['pid']}): {in_one_line(_WORKER_INFO.sub('', str(error)), 600)}"


def note_lost_controller(store: Store, error: BaseException) -> None:
    """Leave word that the group starts again under another controller."""
    with suppress(DataError):  # the storage is away
        store.put(*event_entry("controller_lost", in_one_line(error, 600)))


def node_notice() -> float | None:
    """When a node of this worker group will be taken away, in seconds since the epoch; inf when nobody knows; None is never.

    Ray Train's public question is a collective of all workers, which would cost every update a round of messages; what it
    asks for lies in this process.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    info = get_train_context().preemption_context.preemption_info
    if info is None:
        return None
    return float(info.deadline_ms) / 1000 if info.deadline_ms else math.inf


def write_failure(store: Store, launch: str, error: RunError) -> None:
    """Leave word of an error that ends the launch for good."""
    failure = {"launch": launch, "kind": type(error.__cause__).__name__, "message": str(error)}
    store.put(FAILURE_KEY, json.dumps(failure).encode())


def read_failure(store: Store, launch: str) -> Exception | None:
    """The error that ended a worker of this launch for good, if one did."""
    if not store.exists(FAILURE_KEY):
        return None
    failure = json.loads(store.get(FAILURE_KEY))
    if failure["launch"] != launch:
        return None
    kind = next(kind for kind in FATAL if kind.__name__ == failure["kind"])
    return kind(failure["message"])


def free_resources(wanted: Mapping[str, float]) -> str:
    """``2 GPUs each of 4 workers …``: what is asked for and what the cluster has free."""
    import ray

    there, free = ray.cluster_resources(), ray.available_resources()
    parts = [
        f"{count:g} {kind}s (the cluster has {there.get(kind, 0):g}, {free.get(kind, 0):g} free)"
        for kind, count in wanted.items()
    ]
    return f"the workers need {' and '.join(parts)}; `ray status` says who holds the rest"


def _last_words(error: BaseException, config: SystemConfig) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    what = (
        f"was lost after {config.run.max_failures} replacements of its workers"
        if isinstance(error, WorkerGroupError)
        else "could not be started or kept up"
    )
    return (
        f"run {config.run.name} {what}: {lines[-1] if lines else type(error).__name__}\n"
        "Repeat the command to go on from its newest checkpoint."
    )
