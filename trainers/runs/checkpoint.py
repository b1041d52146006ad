"""Complete, atomic checkpoints: what is listed can be loaded, whatever happened while it was written."""

import errno
import hashlib
import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any, Self

import torch
from torch import Tensor, nn

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.retry import BRISK
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.trainers.errors import CheckpointError, SupersededError
from unbraid.trainers.runs.scratch import scratch_folder
from unbraid.trainers.system import System

FOLDER = "checkpoints"
STATE = "state.pt"
MANIFEST = "checkpoint.json"
RETRY_SECONDS = 5.0
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def system_state(system: System) -> dict[str, Any]:
    """Everything an update depends on, as tensors and numbers. Random numbers follow from seed and update."""
    return {
        "updates": system.updates,
        "networks": {name: network.state_dict() for name, network in system.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in system.optimizers.items()},
    }


def load_system_state(system: System, state: Mapping[str, Any]) -> None:
    """Put a state of :func:`system_state` into a system of the same configuration.

    Raises:
        CheckpointError: when a network's tensors are missing or of other sizes.
    """
    for name, network in system.networks.items():
        load_weights(network, state["networks"], name)
    for name, optimizer in system.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    system.updates = state["updates"]


def load_weights(network: nn.Module, networks: Mapping[str, Any], name: str) -> None:
    """Put the weights that a checkpoint calls ``name`` into a network.

    Raises:
        CheckpointError: when they are missing or of other sizes.
    """
    try:
        network.load_state_dict(networks[name])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint's {name} does not fit this configuration ({error}); use the config.yaml stored with that run"
        ) from None


def expected_bytes(system: System) -> int:
    """Size of a checkpoint: all networks, and Adam's two moments of every trained parameter."""
    tensors = [t for network in system.networks.values() for t in network.state_dict().values()]
    stored: int = sum(t.numel() * t.element_size() for t in tensors)
    trained = [p for optimizer in system.optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    moments: int = 2 * sum(p.numel() * p.element_size() for p in trained)
    return stored + moments


class Checkpoints:
    """The checkpoints of one run, oldest removed first.

    ``save`` copies the state to host memory and returns; a thread serialises and uploads it, the manifest last.
    A checkpoint without its manifest does not exist. Where a server fails, the thread tries again, and takes the newest
    state there is by then; training goes on meanwhile.

    Args:
        store: of the run.
        keep: complete checkpoints kept.
        patience: seconds that a server which fails is tried again.
        guard: called before a checkpoint comes into being; raises where this process must not write any more.

    Attributes:
        report: told of each failure and of what came of it.
        failures: attempts that failed; ``seconds``: that the newest took; ``completed``: when it was complete, by
            ``time.monotonic``, this object's making before the first.
    """

    def __init__(
        self,
        store: Store,
        keep: int,
        patience: float = 0.0,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        # what fails is told, and tried again with the newest state, rather than within a request
        self._brisk = open_store(store.url, backoff=BRISK)
        self.keep = keep
        self.failures = 0
        self.seconds = 0.0
        self.completed = time.monotonic()
        self.report: Callable[[str], None] = lambda text: None
        self._patience = patience
        self._guard = guard
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write-checkpoint")
        self._pending: Future[None] | None = None
        self._lock = threading.Lock()
        self._waiting: tuple[int, dict[str, Any]] | None = None
        self._failed: Exception | None = None
        self._settled = threading.Event()  # what was saved is complete, or has failed and is tried again
        self._settled.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """What was saved is complete after this, however training ended; an earlier error is not hidden by a later one."""
        with suppress(CheckpointError, SupersededError) if kind is not None else nullcontext():
            self.wait()
        self._writer.shutdown()

    def require_space(self, size: int) -> None:
        """See that the checkpoints to be kept, and one being written, fit on the disk; S3 has no such limit.

        Raises:
            CheckpointError: before anything is trained in vain.
        """
        if not isinstance(self.store, FolderStore):
            return
        free, wanted = shutil.disk_usage(self.store.root).free, (self.keep + 1 - len(self.steps())) * size
        if free < wanted:
            raise CheckpointError(
                f"run.storage: {self.store.root} has {free >> 20} MiB free, but {wanted >> 20} MiB are needed for checkpoints: "
                "free space there, lower run.keep_checkpoints or set run.storage"
            )

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return self._steps(self.store)

    @staticmethod
    def _steps(store: Store) -> list[int]:
        manifests = [key.split("/") for key in store.keys(f"{FOLDER}/") if key.endswith(f"/{MANIFEST}")]
        return sorted(int(parts[1].removeprefix("step-")) for parts in manifests)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Begin to write the state of ``step``; waits for the previous one, unless a server fails: that state gives way.

        Raises:
            CheckpointError: when the previous one could not be written.
        """
        self._settled.wait()
        self._raise_failure()
        snapshot = _to_host(state)
        with self._lock:
            self._waiting = (step, snapshot)
        self._settled.clear()
        self._pending = self._writer.submit(self._write_waiting)

    def wait(self) -> None:
        """Until what was saved is complete.

        Raises:
            CheckpointError: when it could not be written.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()
        self._raise_failure()

    def load(self, step: int | None = None) -> dict[str, Any] | None:
        """The state of ``step``, or of the newest complete checkpoint; None when there is none.

        Raises:
            CheckpointError: when it is not what its manifest says.
        """
        steps = self.steps()
        if step is None:
            if not steps:
                return None
            step = steps[-1]
        elif step not in steps:
            raise CheckpointError(f"{self.store.url}: no checkpoint of step {step}; there are {steps or 'none'}")
        manifest = json.loads(self.store.get(f"{_folder(step)}/{MANIFEST}"))
        content = self.store.get(f"{_folder(step)}/{STATE}")
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            raise CheckpointError(
                f"{self.store.url}/{_folder(step)}/{STATE}: its SHA-256 is not the manifest's: it was damaged; "
                f"delete {_folder(step)} to go on from the one before"
            )
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state

    def drop_after(self, step: int) -> None:
        """Remove the checkpoints of later steps: the run goes another way from here."""
        for later in [s for s in self.steps() if s > step]:
            self._remove(later)

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _take_waiting(self) -> tuple[int, dict[str, Any]] | None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        return waiting

    def _write_waiting(self) -> None:
        """Write the newest state; what fails is kept for the training thread."""
        taken = self._take_waiting()
        try:
            if taken is not None and self._failed is None:
                self._write_patiently(*taken)
        finally:
            self._settled.set()

    def _write_patiently(self, step: int, snapshot: dict[str, Any]) -> None:
        """Write a state, or one that is saved meanwhile, for as long as that may take."""
        started = time.monotonic()
        failed = 0
        while True:
            try:
                self._write(step, snapshot)
                break
            except (CheckpointError, SupersededError) as error:
                if not self._may_succeed(error, started):
                    self._failed = error
                    return
                failed += 1
                self.failures += 1
                self.report(f"{error}; trying again")
                self._settled.set()
                time.sleep(RETRY_SECONDS)
                step, snapshot = self._take_waiting() or (step, snapshot)
        self.completed = time.monotonic()
        self.seconds = self.completed - started
        if failed:
            self.report(f"checkpoint of step {step} is complete, after {failed} failures in {self.seconds:.0f} s")

    def _may_succeed(self, error: Exception, started: float) -> bool:
        """A server may come back; what fails on a disk of this machine is for a person to repair."""
        patient = time.monotonic() - started < self._patience
        return patient and isinstance(error, CheckpointError) and not isinstance(self.store, FolderStore)

    def _write(self, step: int, snapshot: dict[str, Any]) -> None:
        with scratch_folder() as folder:
            path = folder / STATE
            try:
                # the manifest's SHA-256 checks every byte; torch's own sums would take longer than all the rest
                torch.serialization.set_crc32_options(False)
                with path.open("wb") as file:
                    torch.save(snapshot, file)
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                self._brisk.put_file(f"{_folder(step)}/{STATE}", path)
                self._guard()
                manifest = {"step": step, "bytes": path.stat().st_size, "sha256": sha256, "time": time.time()}
                self._brisk.put(f"{_folder(step)}/{MANIFEST}", json.dumps(manifest).encode())
                self._prune()
            except (DataError, OSError, RuntimeError) as error:
                raise CheckpointError(self._explain(step, error)) from error

    def _prune(self) -> None:
        for step in self._steps(self._brisk)[: -self.keep]:
            self._remove(step)

    def _remove(self, step: int) -> None:
        self._brisk.delete(f"{_folder(step)}/{MANIFEST}")  # first: from then on the checkpoint does not exist
        self._brisk.delete(f"{_folder(step)}/{STATE}")

    def _explain(self, step: int, error: Exception) -> str:
        try:
            complete = self._steps(self._brisk)
            safe = f"step {complete[-1]} is complete" if complete else "none is complete yet"
        except DataError:
            safe = "what was complete before stays so"
        cause: BaseException | None = error  # torch.save hides the file's error behind one of its own
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        space = isinstance(cause, OSError) and cause.errno in _NO_SPACE
        remedy = "free space there, or set run.storage" if space else "see that the storage can be written"
        return f"checkpoint of step {step} could not be written ({cause or error}); {safe}; {remedy}, then repeat the command"


def newest_networks(store: Store) -> dict[str, Any]:
    """The networks' weights of a run's newest checkpoint.

    Raises:
        CheckpointError: when there is none yet.
    """
    state = Checkpoints(store, keep=1).load()
    if state is None:
        raise CheckpointError(f"{store.url}: has no checkpoint yet; train that run first")
    networks: dict[str, Any] = state["networks"]
    return networks


def _folder(step: int) -> str:
    return f"{FOLDER}/step-{step:08d}"


def _to_host(value: Any) -> Any:
    """A copy in host memory that training no longer changes."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _to_host(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_host(inner) for inner in value)
    return value
