"""The state of runs, read from their storage alone; no cluster is asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from unbraid.datasets.store import Store, open_store
from unbraid.datasets.store.lease import EXPIRY_SECONDS, newest
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import complete_steps, read_manifest
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import RUN_KEY, read_config, read_metrics, read_run

READERS = 16


@dataclass(frozen=True)
class Summary:
    """The state of one run.

    Attributes:
        status: ``claimed``, ``running``, ``finished``, ``failed`` or ``stopped``; ``interrupted`` when the record says running
            and no launch renews the lease.
        message: why a run has failed or stopped; else "".
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
    """Read the state of a run.

    Raises:
        DataError: when the store holds no run.
    """
    run, config = read_run(store), read_config(store)
    training = [line for line in read_metrics(store) if "speed/updates_per_second" in line]
    line: dict[str, Any] = training[-1] if training else {}
    steps = complete_steps(store)
    manifest = read_manifest(store, steps[-1]) if steps else None
    _, holder = newest(store)
    alive = holder is not None and not holder.released and time.time() - holder.renewed < 2 * EXPIRY_SECONDS
    status = str(run.get("status", "claimed"))
    return Summary(
        name=name,
        url=store.url,
        status="interrupted" if status == "running" and not alive else status,
        message=str(run.get("message", "")) if status in ("failed", "stopped") else "",
        config=config,
        step=int(line.get("step", 0)),
        updates=config.run.updates,
        rate=float(line.get("speed/updates_per_second", 0.0)),
        images=float(line.get("speed/images_per_second", 0.0)),
        line=line,
        checkpoint=None if manifest is None else manifest.step,
        checkpoint_age=None if manifest is None else time.time() - manifest.time,
        holder=str(holder) if alive else "",
        starts=int(run.get("starts", 0)),
        started=float(run.get("started", 0.0)),
        evaluation=run.get("evaluation", {}),
    )


def run_names(storage: str) -> list[str]:
    """Names of all runs in a storage, sorted."""
    keys = open_store(storage).keys()
    return sorted(key.removesuffix(f"/{RUN_KEY}") for key in keys if key.endswith(f"/{RUN_KEY}") and key.count("/") == 1)


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
