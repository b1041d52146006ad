"""Handing a run's record to trackers, each from a thread and a bounded queue of its own."""

from __future__ import annotations

import importlib
import importlib.util
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, Self

from torch import Tensor

from unbraid.datasets.passwords import without_password
from unbraid.datasets.threads import WatchedThread
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.config.schema import SystemConfig, values_by_key
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.recorder import Line, Recorder

LONGEST_QUEUE = 2000
"""Entries that wait for a tracker; further ones are left out."""
RETRY_SECONDS = 20.0
"""Between two tries of a tracker that has failed."""
LAST_SECONDS = 30.0
"""For which a run that has ended waits for a tracker."""
HURRIED_SECONDS = 3.0
"""The same for a run that was interrupted, whose node may go soon."""

Ending = Literal["finished", "failed"]


@dataclass(frozen=True)
class Identity:
    """What a tracker is told of a run when it begins.

    Attributes:
        name: of the run, by which a resumed one goes on with its own curve.
        group: of the campaign whose trial it is; "" otherwise.
        settings: the flattened configuration, and what is known of code and data.
    """

    name: str
    project: str
    group: str
    tags: Sequence[str]
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Something that shows runs. Its methods are called in one thread, and may raise or take as long as they like."""

    def __init__(self, identity: Identity) -> None: ...

    def scalars(self, lines: Sequence[Line]) -> None:
        """Numbers by metric name, each line with its ``step``."""
        ...

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """A picture (3, H, W) uint8."""
        ...

    def end(self, ending: Ending) -> None:
        """The run has ended, or this launch of it."""
        ...


class Feed:
    """Feeds one tracker.

    Args:
        make: opens it; called in the thread.
        report: called once with why, when the tracker does not take what it is given.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], report: Callable[[str], None]) -> None:
        self._name, self._make, self._report = name, make, report
        self._queue: queue.Queue[Line | tuple[int, str, Tensor] | Ending] = queue.Queue(LONGEST_QUEUE)
        self._told = False
        self._thread = WatchedThread(self._run, f"feed-{name}")
        self._thread.start()

    def put(self, entry: Line | tuple[int, str, Tensor]) -> None:
        """Hand over a line or a picture; returns at once, and leaves it out where too many wait."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._tell(f"does not keep up: {LONGEST_QUEUE} entries wait, further ones are left out")

    def close(self, ending: Ending, until: float) -> None:
        """Say that the run has ended, and wait for the tracker until then (monotonic seconds)."""
        with suppress(queue.Full):
            self._queue.put_nowait(ending)
        self._thread.join(max(until - time.monotonic(), 0.0))
        if self._thread.is_alive():
            self._tell("has not taken everything when the run ended")

    def _run(self) -> None:
        tracker: Tracker | None = None
        while True:
            entries = self._waiting()
            try:
                tracker = tracker if tracker is not None else self._make()
                for batch in _batches(entries):
                    _give(tracker, batch)
            except Exception as error:
                self._tell(f"{type(error).__name__}: {in_one_line(error, 300)}")
                if not any(isinstance(entry, str) for entry in entries):
                    time.sleep(RETRY_SECONDS)
            if any(isinstance(entry, str) for entry in entries):
                return

    def _waiting(self) -> list[Any]:
        """All entries that wait, at least one."""
        entries: list[Any] = [self._queue.get()]
        with suppress(queue.Empty):
            while len(entries) < LONGEST_QUEUE:
                entries.append(self._queue.get_nowait())
        return entries

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._report(f"{self._name} {without_password(why)}; the run goes on without it")


class TrackedRecorder:
    """A recorder that hands what it records to trackers too."""

    def __init__(self, recorder: Recorder, feeds: Sequence[Feed]) -> None:
        self._recorder, self._feeds = recorder, feeds

    def scalars(self, step: int, values: Mapping[str, float]) -> Line:
        """As of the recorder."""
        line = self._recorder.scalars(step, values)
        for feed in self._feeds:
            feed.put({"step": step, **values})
        return line

    def pictures(self, step: int, pictures: Mapping[str, Tensor], folder: str) -> None:
        """As of the recorder."""
        self._recorder.pictures(step, pictures, folder)
        for feed in self._feeds:
            for name, picture in pictures.items():
                feed.put((step, f"{folder}/{name}", picture))

    def event(self, kind: str, message: str) -> None:
        """As of the recorder."""
        self._recorder.event(kind, message)

    def flush(self, must: bool = False) -> None:
        """As of the recorder; trackers are never waited for."""
        self._recorder.flush(must)

    def lines(self) -> list[Line]:
        """As of the recorder."""
        return self._recorder.lines()

    def __enter__(self) -> Self:
        self._recorder.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Write what was recorded, wait for the trackers (a moment only where the run was interrupted), end the recorder.

        An event of theirs is written too.
        """
        with suppress(Exception):  # which the recorder's own end meets again
            self._recorder.flush()
        until = time.monotonic() + (LAST_SECONDS if kind is None else HURRIED_SECONDS)
        for feed in self._feeds:
            feed.close("finished" if kind is None else "failed", until)
        self._recorder.__exit__(kind, *rest)


def tracked(recorder: Recorder, config: SystemConfig, known: Mapping[str, Any]) -> Recorder:
    """A recorder that feeds the trackers that a configuration names; the same recorder where it names none.

    Args:
        known: of code and data, beside the configuration.
    """
    run = config.run
    if not run.trackers:
        return recorder
    settings = values_by_key(config) | {f"unbraid.{name}": value for name, value in known.items()}
    identity = Identity(str(run.name), run.project, run.group, tuple(run.tags), settings)
    feeds = [Feed(name, partial(_opened, name, identity), partial(recorder.event, "tracker_failed")) for name in run.trackers]
    return TrackedRecorder(recorder, feeds)


def require_trackers(config: SystemConfig) -> None:
    """Check that the trackers are installed; each is a package of its name.

    Raises:
        ConfigError: naming the one that is not.
    """
    for name in config.run.trackers:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"run.trackers: {name} is not installed; `pip install 'unbraid[{name}]'`, or take it out of the list"
            )


def _opened(name: str, identity: Identity) -> Tracker:
    found: Tracker = importlib.import_module(f"unbraid.trainers.runs.trackers.to_{name}").RunTracker(identity)
    return found


def _batches(entries: Sequence[Any]) -> Iterator[Any]:
    """Entries in order, neighbouring lines as one list."""
    lines: list[Line] = []
    for entry in entries:
        if isinstance(entry, dict):
            lines.append(entry)
            continue
        if lines:
            yield lines
            lines = []
        yield entry
    if lines:
        yield lines


def _give(tracker: Tracker, batch: Any) -> None:
    if isinstance(batch, list):
        tracker.scalars(batch)
    elif isinstance(batch, str):
        tracker.end("finished" if batch == "finished" else "failed")
    else:
        tracker.picture(*batch)
