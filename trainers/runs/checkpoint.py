"""Checkpoints of a run: complete, atomic and checked. Every step that is listed can be loaded.

A checkpoint is two objects, ``state.pt`` and a manifest with its SHA-256. The manifest is written last and removed first, so a
checkpoint without one does not exist. One whose state is not the manifest's is damaged: the newest whole one is taken instead.
"""

import errno
import hashlib
import io
import json
import logging
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import AbsentError, FolderStore, Store, discard, open_store
from unbraid.datasets.store.retry import FAST_RETRY
from unbraid.datasets.untrusted.documents import Count, DocumentError, Seconds, Sha256, parse_json
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.aside import set_aside
from unbraid.trainers.runs.record import CHECKPOINTS as FOLDER
from unbraid.trainers.runs.scratch import scratch_folder
from unbraid.trainers.system import System

STATE = "state.pt"
MANIFEST = "checkpoint.json"
_MANIFEST_KEY = re.compile(rf"{FOLDER}/step-(?P<step>[0-9]{{8}})/{re.escape(MANIFEST)}")
_REMEDY = "use the config.yaml stored with that run"
log = logging.getLogger(__name__)
MOST_PROTECTED = 2
"""Checkpoints that are kept beside the newest ones: the best, and the last good one."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Manifest:
    """Describes a complete checkpoint.

    Attributes:
        step: update after which it was made.
        bytes, sha256: of the state.
        time: at which it was complete, in seconds since the epoch.
    """

    step: Count
    bytes: Count
    sha256: Sha256
    time: Seconds


class DamagedError(CheckpointError):
    """A checkpoint whose files are not those that were written; the message names the file."""


@dataclass(frozen=True)
class Newest:
    """A run's newest whole checkpoint.

    Attributes:
        step: its update; None when the run has no checkpoint.
        state: as :func:`system_state`; None when the run has no checkpoint.
        time: at which it was complete, in seconds since the epoch.
        damaged: the checkpoints after it, newest first: step, and which file is damaged how.
    """

    step: int | None = None
    state: dict[str, Any] | None = None
    time: float = 0.0
    damaged: tuple[tuple[int, str], ...] = ()

    @property
    def lost_updates(self) -> int:
        """Updates between it and the newest damaged one, which have to be made again."""
        return self.damaged[0][0] - self.step if self.damaged and self.step is not None else 0


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
        CheckpointError: when a network's tensors are missing or of other sizes, or an optimiser's state is.
    """
    for name, network in system.networks.items():
        load_weights(network, networks_of(state), name)
    try:
        for name, optimizer in system.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        system.updates = int(state["updates"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint's optimizers do not fit this configuration ({error!r}); {_REMEDY}") from None


def networks_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The networks' weights in a state, by name.

    Raises:
        CheckpointError: when there are none: it is the state of something else.
    """
    networks = state.get("networks")
    if not isinstance(networks, dict):
        raise CheckpointError(f"the checkpoint holds no networks (only {', '.join(map(str, state))[:80]}); {_REMEDY}")
    return networks


def load_weights(network: nn.Module, networks: Mapping[str, Any], name: str) -> None:
    """Put the weights that a checkpoint calls ``name`` into a network.

    Raises:
        CheckpointError: when they are missing or of other sizes.
    """
    try:
        network.load_state_dict(networks[name])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint's {name} does not fit this configuration ({error}); {_REMEDY}") from None


def expected_bytes(system: System) -> int:
    """Size of a checkpoint: all networks, and Adam's two moments of every trained parameter."""
    tensors = [t for network in system.networks.values() for t in network.state_dict().values()]
    stored: int = sum(t.numel() * t.element_size() for t in tensors)
    trained = [p for optimizer in system.optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    moments: int = 2 * sum(p.numel() * p.element_size() for p in trained)
    return stored + moments


class Checkpoints:
    """The checkpoints in a run's storage.

    Args:
        store: of the run.
        keep: number of complete checkpoints that are kept; older ones are removed.
        protected: chooses those of all complete ones that are not removed either; :data:`MOST_PROTECTED` at most.
    """

    def __init__(
        self, store: Store, keep: int, protected: Callable[[Sequence[int]], Collection[int]] = lambda steps: ()
    ) -> None:
        self.store = store
        self.keep = keep
        self.protected = protected
        # a write that fails is repeated by the caller, with a newer state where there is one, instead of within the request
        self._fast_retry = open_store(store.url, backoff=FAST_RETRY)

    def require_space(self, size: int) -> None:
        """Check that the checkpoints to be kept, and the one being written, fit on the disk. S3 has no such limit.

        Args:
            size: bytes of one checkpoint.

        Raises:
            CheckpointError: when they do not fit; before anything is trained in vain.
        """
        if not isinstance(self.store, FolderStore):
            return
        there = next(folder for folder in (self.store.root, *self.store.root.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        wanted = (self.keep + MOST_PROTECTED + 1 - len(self.steps())) * size
        if free < wanted:
            raise CheckpointError(
                f"run.storage: {self.store.root} has {free >> 20} MiB free, but {wanted >> 20} MiB are needed for checkpoints: "
                "free space there, lower run.keep_checkpoints or set run.storage"
            )

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return complete_steps(self.store)

    def load(self, step: int | None = None) -> dict[str, Any] | None:
        """Load the state of ``step``, or of the newest whole checkpoint; None when there is none.

        Damaged ones that are newer are named by a warning. Nothing in the storage is changed.

        Raises:
            CheckpointError: when there is no checkpoint of that step or it is damaged, or when none is whole.
        """
        if step is None:
            newest = self.newest()
            for damaged, problem in newest.damaged:
                log.warning("the checkpoint of step %d is damaged (%s); that of step %d is used", damaged, problem, newest.step)
            return newest.state
        steps = self.steps()
        if step not in steps:
            raise CheckpointError(f"{self.store.url}: no checkpoint of step {step}; there are {steps or 'none'}")
        try:
            return self._read(step)[1]
        except DamagedError as error:
            others = [other for other in steps if other != step]
            raise DamagedError(f"{error}; the other checkpoints are of the steps {others or 'none'}") from None

    def newest(self) -> Newest:
        """Find and load the newest whole checkpoint.

        Raises:
            CheckpointError: when there are checkpoints, and none is whole.
        """
        damaged: list[tuple[int, str]] = []
        steps = self.steps()
        for step in reversed(steps):
            try:
                manifest, state = self._read(step)
            except DamagedError as error:
                if step in self.steps():  # else whoever trains the run has removed it meanwhile
                    damaged.append((step, str(error)))
            else:
                return Newest(step, state, manifest.time, tuple(damaged))
        if damaged:
            problems = "\n".join(f"  step {step}: {problem}" for step, problem in damaged)
            raise CheckpointError(
                f"{self.store.url}: none of its checkpoints is whole:\n{problems}\n"
                "put whole ones there from a copy of the run, or let it begin again with --from 0, which sets these aside"
            )
        return self.newest() if steps else Newest()

    def set_aside(self, step: int) -> str:
        """Move a checkpoint out of the way, its manifest first; returns in words where it is now."""
        return set_aside(self.store, _objects(step), f"step-{step:08d}")

    def _read(self, step: int) -> tuple[Manifest, dict[str, Any]]:
        """Load a checkpoint with its manifest.

        Raises:
            DamagedError: when one of its files is missing, or not what was written.
            DataError: when the storage cannot be read.
        """
        key = f"{folder_of(step)}/{STATE}"
        where = f"{self.store.url}/{key}"
        try:
            manifest = read_manifest(self.store, step)
            size = self.store.sizes(key).get(key)
            if size != manifest.bytes:
                found = "is missing" if size is None else f"has {size:,} bytes, not the {manifest.bytes:,} that were written"
                raise DamagedError(f"{where}: {found}")
            content = self.store.get(key, manifest.bytes)
        except (DocumentError, AbsentError) as error:
            raise DamagedError(str(error)) from None
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise DamagedError(f"{where}: its SHA-256 is not the manifest's")
        return manifest, _loaded(content, where)

    def write(self, step: int, state: Mapping[str, Any], guard: Callable[[], None] = lambda: None) -> None:
        """Write a checkpoint and remove the oldest. ``CheckpointWriter`` does this in the background.

        Args:
            state: as :func:`system_state`, in host memory.
            guard: called before the manifest is written; raises where this process must not complete a checkpoint any more.

        Raises:
            CheckpointError: when it could not be written; the complete checkpoints are not affected.
        """
        with scratch_folder() as folder:
            path = folder / STATE
            try:
                # the manifest's SHA-256 covers every byte; torch's own checksums would take longer than all the rest
                torch.serialization.set_crc32_options(False)
                with path.open("wb") as file:
                    torch.save(state, file)
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                self._fast_retry.put_file(f"{folder_of(step)}/{STATE}", path)
                guard()
                manifest = Manifest(step, path.stat().st_size, sha256, time.time())
                self._fast_retry.put(f"{folder_of(step)}/{MANIFEST}", json.dumps(asdict(manifest)).encode())
                self._remove_old()
            except (DataError, OSError, RuntimeError) as error:
                raise CheckpointError(self._explain(step, error)) from error

    def _remove_old(self) -> None:
        steps = complete_steps(self._fast_retry)
        kept = {*steps[-self.keep :], *self.protected(steps)}
        for old in steps:
            if old not in kept:
                discard(self._fast_retry, _objects(old))

    def drop_after(self, step: int) -> None:
        """Remove the checkpoints of later steps, because the run continues differently from this step on."""
        for later in [s for s in self.steps() if s > step]:
            for key in _objects(later):
                self._fast_retry.delete(key)

    def _explain(self, step: int, error: Exception) -> str:
        """Why a checkpoint could not be written, which one is complete, and what to do."""
        try:
            complete = complete_steps(self._fast_retry)
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
    """The networks' weights of a run's newest whole checkpoint.

    Raises:
        CheckpointError: when there is none yet, or none is whole.
    """
    state = Checkpoints(store, keep=1).load()
    if state is None:
        raise CheckpointError(f"{store.url}: has no checkpoint yet; train that run first")
    return networks_of(state)


def complete_steps(store: Store) -> list[int]:
    """Steps of a run's complete checkpoints, ascending. Objects with other names are passed over."""
    found = (_MANIFEST_KEY.fullmatch(key) for key in store.keys(f"{FOLDER}/"))
    return sorted(int(name["step"]) for name in found if name)


def read_manifest(store: Store, step: int) -> Manifest:
    """Read the manifest of a complete checkpoint.

    Raises:
        DocumentError: when it is not one, or that of another step.
    """
    key = f"{folder_of(step)}/{MANIFEST}"
    manifest = parse_json(store.get(key), Manifest, f"{store.url}/{key}")
    if manifest.step != step:
        raise DocumentError(f"{store.url}/{key}: is of step {manifest.step}")
    return manifest


def _loaded(content: bytes, where: str) -> dict[str, Any]:
    """Load a state. Nothing in it is executed, and it needs no more memory than it has bytes.

    Raises:
        DamagedError: when it is not a state.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(content):
                raise DamagedError(f"{where}: its parts are compressed, which no checkpoint's are; it is not loaded")
        state: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except DamagedError:
        raise
    except Exception as error:  # torch documents none of what it raises for content that is not its own
        raise DamagedError(f"{where}: is not a checkpoint's state ({in_one_line(error, 120)})") from None
    if not isinstance(state, dict):
        raise DamagedError(f"{where}: is not a checkpoint's state, but a {type(state).__name__}")
    return state


def _objects(step: int) -> tuple[str, str]:
    """The keys of a checkpoint in the order in which they are deleted: without its manifest it does not exist."""
    return f"{folder_of(step)}/{MANIFEST}", f"{folder_of(step)}/{STATE}"


def folder_of(step: int) -> str:
    """The beginning of the keys of a checkpoint."""
    return f"{FOLDER}/step-{step:08d}"
