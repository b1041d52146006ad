"""The state of runs, read from their storage alone; no cluster is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from unbraid.datasets.store import Store, open_store
from unbraid.datasets.store.lease import EXPIRY_SECONDS, newest
from unbraid.datasets.untrusted.documents import DocumentError
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import Manifest, complete_steps, read_manifest
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import RUN_KEY, RunRecord, read_config, read_run, scan_metrics

READERS = 16
Value = TypeVar("Value")


@dataclass(frozen=True)
class Summary:
    """The state of one run.

    Attributes:
        status: ``claimed``, ``running``, ``finished``, ``failed``, ``stopped`` or ``diverged``; ``interrupted`` when the record
            says running and no launch renews the lease.
        message: why a run has failed, stopped or diverged; else "".
        step, updates: updates made, and asked for.
        rate: updates per second at the newest line.
        images: images per second at the newest line.
        line: the newest line of training metrics.
        checkpoint: step of the newest complete checkpoint; None before the first.
        checkpoint_age: seconds since then; None when unknown.
        holder: describes the process that trains the run; "" when none does.
        starts: how often training was started or continued.
        started: seconds since the epoch at which the run was claimed.
        evaluation: the last measures.
        damaged: files that could not be read, and why; what they say is missing above.
        nothing_learnt: why the last measures say so; "" where they do not.
    """

    name: str
    url: str
    status: str
    message: str
    config: SystemConfig
    step: int
    updates: int
    rate: float
    images: float
    line: Mapping[str, Any]
    checkpoint: int | None
    checkpoint_age: float | None
    holder: str
    starts: int
    started: float
    evaluation: Mapping[str, float] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    nothing_learnt: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The attributes as JSON values, without the configuration."""
        return {name: value for name, value in vars(self).items() if name != "config"} | {"seconds_left": self.seconds_left}

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the present rate; None when the run is not being trained."""
        return (self.updates - self.step) / self.rate if self.status == "running" and self.rate else None


def store_of(summary: Summary) -> Store:
    """Open the store of a summarised run."""
    return open_store(summary.url)


def summarise(store: Store, name: str) -> Summary:
    """Read the state of a run, as far as its files can be read.

    Raises:
        DataError: when the store holds no run.
        ConfigError: when its configuration cannot be read, without which it is not known what it is.
    """
    damaged: list[str] = []
    config = read_config(store)
    run = _read_or(RunRecord(), lambda: read_run(store), damaged)
    metrics = scan_metrics(store)
    damaged += metrics.damaged[:1]
    training = [line for line in metrics.lines if "speed/updates_per_second" in line]
    line: dict[str, Any] = training[-1] if training else {}
    manifest = _newest_manifest(store, damaged)
    holder = _read_or("", lambda: holder_of(store), damaged)
    status = str(run.get("status", "claimed")) if run or not damaged else "unreadable"
    return Summary(
        name=name,
        url=store.url,
        status="interrupted" if status == "running" and not holder else status,
        message=str(run.get("message", "")) if status in ("failed", "stopped", "diverged") else "",
        config=config,
        step=int(line.get("step", 0)),
        updates=config.run.updates,
        rate=float(line.get("speed/updates_per_second", 0.0)),
        images=float(line.get("speed/images_per_second", 0.0)),
        line=line,
        checkpoint=None if manifest is None else manifest.step,
        checkpoint_age=None if manifest is None else time.time() - manifest.time,
        holder=holder,
        starts=int(run.get("starts", 0)),
        started=float(run.get("started", 0.0)),
        evaluation=run.get("evaluation", {}),
        damaged=tuple(damaged),
        nothing_learnt=run.get("nothing_learnt") or "",
    )


def holder_of(store: Store) -> str:
    """Describe the process that trains a run; "" when none does.

    Raises:
        DocumentError: when the newest entry of the lease is damaged.
    """
    _, holder = newest(store)
    alive = holder is not None and not holder.is_gone and time.time() - holder.renewed < 2 * EXPIRY_SECONDS
    return str(holder) if alive else ""


def _read_or(otherwise: Value, read: Callable[[], Value], damaged: list[str]) -> Value:
    """What ``read`` returns; where the file is damaged, ``otherwise``, and a message is added to ``damaged``."""
    try:
        return read()
    except DocumentError as error:
        damaged.append(str(error))
        return otherwise


def _newest_manifest(store: Store, damaged: list[str]) -> Manifest | None:
    """The newest manifest that can be read; messages about damaged ones are added to ``damaged``."""
    for step in reversed(complete_steps(store)):
        manifest = _read_or(None, partial(read_manifest, store, step), damaged)
        if manifest is not None:
            return manifest
    return None


@dataclass(frozen=True)
class Unreadable:
    """A run whose files are damaged or are not a run's.

    Attributes:
        message: which file, and what is wrong with it.
    """

    name: str
    message: str
    status = "unreadable"
    started = 0.0

    @property
    def damaged(self) -> tuple[str, ...]:
        """The one file without which nothing is known of the run."""
        return (self.message,)

    def as_dict(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {"name": self.name, "status": self.status, "message": self.message}


def summaries(storage: str, names: Iterable[str]) -> list[Summary | Unreadable]:
    """Read the states of several runs in parallel; runs that have been deleted meanwhile are left out."""

    def read(name: str) -> Summary | Unreadable | None:
        try:
            store = open_run(storage, name)
            return summarise(store, name) if store.exists(RUN_KEY) else None
        except Exception as error:  # whatever a stranger's folder does, it is one row, and not the end of the list
            return Unreadable(name, in_one_line(error))

    with ThreadPoolExecutor(READERS) as readers:
        return [summary for summary in readers.map(read, names) if summary is not None]
