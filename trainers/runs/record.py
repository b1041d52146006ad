"""The record of one run, in its storage: configuration, provenance, metrics, pictures."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.retry import BRISK, default_backoff
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.config.schema import differences, effects
from unbraid.trainers.errors import ConfigError, SupersededError
from unbraid.trainers.runs.scratch import scratch_folder

CONFIG_KEY = "config.yaml"
RUN_KEY = "run.json"
METRICS_KEY = "metrics.jsonl"
REPORT_KEY = "report.png"
EVENTS = "events"
PACKAGES = ("unbraid", "torch", "ray", "webdataset", "kornia")
FLUSH_SECONDS = 5.0

Status = Literal["running", "finished", "failed", "stopped"]


def open_run(storage: str, name: str, create: bool = False, patience: float = 0.0) -> Store:
    """The store of one run.

    Args:
        create: make it when it is missing.
        patience: seconds that a server which is away is waited for.
    """
    return open_store(f"{storage.rstrip('/')}/{name}", create=create, backoff=default_backoff(patience))


def find_run(reference: str, storage: str) -> Store:
    """The store of a run that is named, or whose folder or URL is given."""
    return open_store(reference) if "/" in reference else open_run(storage, reference)


def claim_run(config: SystemConfig, command: str, inputs: Mapping[str, SystemConfig]) -> Store:
    """Write the configuration of a new run, or see that an existing one agrees, before anything is started.

    Args:
        inputs: configurations of the runs that it starts from, kept with it: those may be moved or deleted.

    Raises:
        ConfigError: when a run of that name has another configuration.
        DataError: when the storage cannot be written.
    """
    assert config.run.name is not None
    store = open_run(config.run.storage, config.run.name, create=True)
    if store.exists(CONFIG_KEY):
        may_change = effects(type(config))
        changed = {k: v for k, v in differences(read_config(store), config).items() if k not in may_change}
        if changed:
            listing = "\n".join(f"  {key}: {before!r} there, {now!r} asked for" for key, (before, now) in changed.items())
            raise ConfigError(
                f"run {config.run.name!r} in {config.run.storage} has another configuration:\n{listing}\n"
                "give this one another run.name, or take these overrides back"
            )
    store.put(CONFIG_KEY, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    for name, of_input in inputs.items():
        store.put(input_key(name), yaml.safe_dump(of_input.model_dump(mode="json"), sort_keys=False).encode())
    if not store.exists(RUN_KEY):
        write_run(store, {"command": command, "started": time.time(), **provenance()})
    return store


def read_config(store: Store, key: str = CONFIG_KEY) -> SystemConfig:
    """The resolved configuration stored with a run, or under :func:`input_key` that of a run it started from."""
    return load_config(yaml.safe_load(store.get(key)), f"{store.url}/{key}")


def input_key(name: str) -> str:
    """Where a run keeps the configuration of a run that it started from."""
    return f"inputs/{name}.yaml"


def read_run(store: Store) -> dict[str, Any]:
    """``run.json``: provenance and status."""
    content: dict[str, Any] = json.loads(store.get(RUN_KEY))
    return content


def write_run(store: Store, change: Mapping[str, Any]) -> None:
    """Set fields of ``run.json``."""
    content = read_run(store) if store.exists(RUN_KEY) else {}
    store.put(RUN_KEY, json.dumps(content | dict(change), indent=2).encode())


def delete_run(store: Store) -> int:
    """Remove everything that a run has left; returns how many objects that were. What makes it a run goes first."""
    keys = store.keys()
    for key in sorted(keys, key=lambda key: key not in (RUN_KEY, CONFIG_KEY)):
        store.delete(key)
    return len(keys)


def provenance() -> dict[str, Any]:
    """What code and machine a run is made with. No environment variables: keys live there."""
    here = Path(__file__).parent
    commit = _git(here, "rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": bool(_git(here, "status", "--porcelain", "--untracked-files=no")) if commit else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "argv": sys.argv[1:],
    }


def read_metrics(store: Store) -> list[dict[str, Any]]:
    """All lines of ``metrics.jsonl``; empty before the first."""
    if not store.exists(METRICS_KEY):
        return []
    return list(_complete_lines(store.get(METRICS_KEY)))


def event_entry(kind: str, message: str) -> tuple[str, bytes]:
    """Key and content of something that happened to a run; each its own object, since several processes tell."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
    return f"{EVENTS}/{stamp}-{kind}.json", json.dumps({"time": round(now, 3), "kind": kind, "message": message}).encode()


def read_events(store: Store) -> list[dict[str, Any]]:
    """All that happened to a run, in order: of each ``time``, ``kind`` and ``message``."""
    return [json.loads(store.get(key)) for key in store.keys(f"{EVENTS}/")]


def measures_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The measures in a line of metrics, without their prefix; empty in lines of training."""
    return {name.removeprefix("evaluation/"): value for name, value in line.items() if name.startswith("evaluation/")}


def _complete_lines(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n")[:-1]:
        yield json.loads(line)


class RunRecord:
    """What rank 0 writes while training: scalars as JSON lines and in TensorBoard, pictures as PNG and in TensorBoard.

    Going on from a checkpoint removes the lines after it, so that a run's record never tells a step twice.

    Args:
        store: of the run.
        step: that training goes on from.
        guard: called before anything is written; raises where this process must not write any more.
    """

    def __init__(self, store: Store, step: int, guard: Callable[[], None] = lambda: None) -> None:
        from tensorboardX import SummaryWriter

        self.store = store
        self._guard = guard
        # training goes on without this being written, so it does not wait for a server long
        self._brisk = open_store(store.url, backoff=BRISK)
        self._outbox: dict[str, bytes] = {}
        self._away_since: float | None = None
        self._lines = [line for line in read_metrics(store) if line["step"] <= step]
        self._opened = ExitStack()
        self._is_local = isinstance(store, FolderStore)
        if isinstance(store, FolderStore):
            self._events = store.root / "tensorboard"
        else:
            self._events = self._opened.enter_context(scratch_folder()) / "tensorboard"
        self._board = SummaryWriter(str(self._events), purge_step=step + 1, max_queue=1000)
        self._flushed = 0.0
        self._unwritten = True

    def scalars(self, step: int, values: Mapping[str, float]) -> dict[str, Any]:
        """Record numbers of one step; returns the line as written."""
        line = {"step": step, "time": round(time.time(), 3), **values}
        self._lines.append(line)
        self._unwritten = True
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()
        return line

    def pictures(self, step: int, pictures: Mapping[str, Any], folder: str) -> None:
        """Record pictures, (3, H, W) uint8 by name, as ``folder/name/step.png``."""
        from unbraid.trainers.runs.pictures import png

        for name, picture in pictures.items():
            self._outbox[f"{folder}/{name}/{step:08d}.png"] = png(picture)
            self._board.add_image(f"{folder}/{name}", picture.numpy(), step)
        self._deliver(self._brisk)

    def event(self, kind: str, message: str) -> None:
        """Record that something happened which a person should know, and say so; from any thread."""
        print(f"{kind}: {message}", file=sys.stderr, flush=True)  # noqa: T201  # a worker's output is the job's log
        key, content = event_entry(kind, message)
        self._outbox[key] = content

    def flush(self, must: bool = False) -> None:
        """Everything recorded so far is in the storage after this, unless a server is away: then later.

        Args:
            must: wait for it, as long as the store is patient.

        Raises:
            DataError: when a disk has failed, or a server that must be there.
        """
        if self._unwritten:
            self._outbox[METRICS_KEY] = b"".join(json.dumps(line).encode() + b"\n" for line in self._lines)
            self._unwritten = False
        self._board.flush()
        files = [] if self._is_local else list(self._events.iterdir())
        self._deliver(self.store if must else self._brisk, files)
        self._flushed = time.monotonic()

    def _deliver(self, store: Store, events: Sequence[Path] = ()) -> None:
        """Write what waits, and TensorBoard's files where they lie elsewhere; what a server does not take goes on waiting."""
        self._guard()
        try:
            for key, content in list(self._outbox.items()):
                store.put(key, content)
                if self._outbox.get(key) is content:
                    del self._outbox[key]
            for file in events:
                store.put_file(f"tensorboard/{file.name}", file)
        except DataError as error:
            if store is self.store or isinstance(store, FolderStore):
                raise
            if self._away_since is None:
                self._away_since = time.monotonic()
                self.event("storage_away", f"{error}; training goes on, and this is written later")
            return
        if self._away_since is not None:
            seconds, self._away_since = time.monotonic() - self._away_since, None
            self.event("storage_back", f"after {seconds:.0f} s")
            self._deliver(store)

    def lines(self) -> list[dict[str, Any]]:
        """Every line recorded so far, earlier launches of the run included."""
        return list(self._lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Flush and let go, however training ended; an earlier error is not hidden by a later one."""
        try:
            with suppress(DataError, SupersededError) if kind is not None else nullcontext():
                self.flush(must=kind is None)
        finally:
            self._board.close()
            self._opened.close()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # unbraid itself, where a tree was uploaded to a cluster that does not have it
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def run_status(store: Store) -> Status | None:
    """What ``run.json`` says of the run; None when there is no run."""
    try:
        status: Status | None = read_run(store).get("status")
    except DataError:
        return None
    return status
