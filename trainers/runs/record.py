"""The files of a run's record in its storage: configuration, provenance, status and metrics."""

import json
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic reads none but this one before Python 3.12

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import without_password
from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import Count, DocumentError, Name, Seconds, Text, parse_json
from unbraid.trainers.config.presets import read_yaml
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import DivergenceError, StoppedError, SupersededError
from unbraid.trainers.runs.aside import set_aside
from unbraid.trainers.runs.events import event_entry

log = logging.getLogger("unbraid")
CONFIG_KEY = "config.yaml"
RUN_KEY = "run.json"
METRICS_KEY = "metrics.jsonl"
REPORT_KEY = "report.png"
CHECKPOINTS = "checkpoints"
INPUTS = "inputs/"
LONGEST_MESSAGE = 10_000
"""Characters of why a run has ended that are kept."""
PACKAGES = ("unbraid", "torch", "ray", "webdataset", "kornia")
"""Packages whose versions are recorded."""

log = logging.getLogger(__name__)
LARGEST_METRICS = 512 << 20
"""Bytes of ``metrics.jsonl`` that are read."""

Status = Literal["running", "finished", "failed", "stopped", "diverged"]
Scores = Annotated[dict[Name, float], Field(max_length=10_000)]
"""Measures by name."""


def _has_step(line: dict[str, float | int]) -> dict[str, float | int]:
    step = line.get("step")
    if not isinstance(step, int) or not 0 <= step < 2**53:
        raise ValueError("a line of metrics has a whole number `step`, 0 or more")
    return line


Line = Annotated[dict[Name, float | int], Field(max_length=10_000), AfterValidator(_has_step)]
"""A line of metrics: numbers by name, the ``step`` among them."""


class Diverged(TypedDict):
    """Why a run had to end, see :class:`unbraid.trainers.monitor.judge.Finding`, and the last good checkpoint, 0 for none."""

    kind: Literal["diverged", "collapsed"]
    what: Text
    since: Count
    step: Count
    good: Count


class Rollback(TypedDict):
    """A return to a good checkpoint: from which step, to which, and why."""

    at: Count
    to: Count
    what: Text


class RunRecord(TypedDict, total=False):
    """The content of ``run.json``. Which fields are there depends on how far the run is; others are kept as they are."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # the name is pydantic's

    command: Text
    git_commit: Text | None
    git_dirty: bool | None
    python: Text
    versions: dict[Name, Text | None]
    machine: Text
    device: Text
    argv: list[Text]
    started: Seconds
    ended: Seconds
    seconds: Seconds
    status: Status
    message: Text
    starts: Count
    step: Count
    went_back: Count
    judged_from: Count
    diverged: Diverged | None
    rollbacks: list[Rollback]
    checkpoints: dict[Name, Count | None]
    data_digest: Text
    evaluation: Scores
    evaluation_split: Text
    nothing_learnt: Text | None


def read_config(store: Store, key: str = CONFIG_KEY) -> SystemConfig:
    """Read the resolved configuration of a run, or, under :func:`input_key`, of a run that it started from."""
    where = f"{store.url}/{key}"
    return load_config(read_yaml(where, store.get(key)), where)


def write_config(store: Store, config: SystemConfig, key: str = CONFIG_KEY) -> None:
    """Write a resolved configuration as YAML."""
    store.put(key, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def input_key(name: str) -> str:
    """The key under which a run keeps the configuration of a run that it started from."""
    return f"{INPUTS}{name}.yaml"


def read_run(store: Store) -> RunRecord:
    """Read ``run.json``: provenance and status.

    Raises:
        DataError: when there is none, or a field has a value that no run has.
    """
    return parse_json(store.get(RUN_KEY), RunRecord, f"{store.url}/{RUN_KEY}")


def write_run(store: Store, change: Mapping[str, Any]) -> None:
    """Set fields of ``run.json``; the others keep their values. A damaged record is set aside, and a new one begun."""
    try:
        content = dict(read_run(store)) if store.exists(RUN_KEY) else {}
    except DocumentError as error:
        content = {}
        message = f"{error}: a new record is begun; the damaged one is {set_aside(store, [RUN_KEY], 'record')}"
        log.warning("%s", message)
        store.put(*event_entry("record_damaged", message))
    store.put(RUN_KEY, without_password(json.dumps(content | dict(change), indent=2)).encode())


def read_run_or_none(store: Store) -> RunRecord | None:
    """Read ``run.json``; None when there is none, or it is damaged."""
    try:
        return read_run(store) if store.exists(RUN_KEY) else None
    except DocumentError:
        return None


def run_status(store: Store) -> Status | None:
    """The status in ``run.json``; None when there is no run."""
    try:
        status: Status | None = read_run(store).get("status")
    except DataError:
        return None
    return status


def write_end(store: Store, error: Exception) -> None:
    """Set the status of a run that ended before its budget, and why. A run that another launch has taken over is left alone.

    Args:
        error: a :class:`RunError` with its cause, or any other error.
    """
    if isinstance(error.__cause__, SupersededError):
        return
    kinds: dict[type[BaseException], Status] = {StoppedError: "stopped", DivergenceError: "diverged"}
    status = next((status for kind, status in kinds.items() if isinstance(error.__cause__, kind)), "failed")
    try:
        write_run(store, {"status": status, "message": str(error)[:LONGEST_MESSAGE], "ended": time.time()})
    except DataError as trouble:  # the storage may be what ended the run; that error is the one to show
        log.warning("the record of the run cannot say how it ended: %s", trouble)


@dataclass(frozen=True)
class Metrics:
    """The content of ``metrics.jsonl``.

    Attributes:
        lines: those that are whole.
        damaged: which are not, and why.
    """

    lines: list[Line]
    damaged: tuple[str, ...] = ()


def scan_metrics(store: Store) -> Metrics:
    """Read what is whole of ``metrics.jsonl``; nothing before the first line."""
    if not store.exists(METRICS_KEY):
        return Metrics([])
    lines: list[Line] = []
    damaged: list[str] = []
    content = store.get(METRICS_KEY, LARGEST_METRICS)
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n") if content else (), 1):
        try:
            lines.append(parse_json(line, Line, f"{store.url}/{METRICS_KEY}, line {number}"))
        except DocumentError as error:
            damaged.append(str(error))
    return Metrics(lines, tuple(damaged))


def read_metrics(store: Store) -> list[Line]:
    """Read all whole lines of ``metrics.jsonl``; empty before the first."""
    return scan_metrics(store).lines


def measures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The measures in a line of metrics by their names alone; empty for a line of training.

    Of the validation split they are recorded as ``evaluation/NAME``, of the test split as ``test/NAME``.
    """
    return {name.partition("/")[2]: value for name, value in line.items() if name.startswith(("evaluation/", "test/"))}


def provenance() -> dict[str, Any]:
    """Describe the code and the machine that make a run. Environment variables are left out because they hold keys."""
    here = Path(__file__).parent
    commit = _git(here, "rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": bool(_git(here, "status", "--porcelain", "--untracked-files=no")) if commit else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "argv": [without_password(word) for word in sys.argv[1:]],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # unbraid itself is not installed where its source tree was uploaded to a cluster
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
