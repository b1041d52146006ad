"""Checkpoints of a run: complete, atomic and checked. Every step that is listed can be loaded.

A checkpoint is two objects, ``state.pt`` and a manifest with its SHA-256. The manifest is written last and removed first, so a
checkpoint without one does not exist.
"""

import errno
import hashlib
import io
import json
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore, Store, discard, open_store
from unbraid.datasets.store.retry import FAST_RETRY
from unbraid.datasets.untrusted.documents import Count, Seconds, Sha256, parse_json
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.scratch import scratch_folder
from unbraid.trainers.system import System

FOLDER = "checkpoints"
STATE = "state.pt"
MANIFEST = "checkpoint.json"
_MANIFEST_KEY = re.compile(rf"{FOLDER}/step-(?P<step>[0-9]{{8}})/{re.escape(MANIFEST)}")
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
    """The checkpoints in a run's storage.

    Args:
        store: of the run.
        keep: number of complete checkpoints that are kept; older ones are removed.
    """

    def __init__(self, store: Store, keep: int) -> None:
        self.store = store
        self.keep = keep
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
        free, wanted = shutil.disk_usage(self.store.root).free, (self.keep + 1 - len(self.steps())) * size
        if free < wanted:
            raise CheckpointError(
                f"run.storage: {self.store.root} has {free >> 20} MiB free, but {wanted >> 20} MiB are needed for checkpoints: "
                "free space there, lower run.keep_checkpoints or set run.storage"
            )

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return complete_steps(self.store)

    def load(self, step: int | None = None) -> dict[str, Any] | None:
        """Load the state of ``step``, or of the newest complete checkpoint; None when there is none.

        Raises:
            CheckpointError: when there is no checkpoint of that step, or when its content is damaged.
        """
        steps = self.steps()
        if step is None:
            if not steps:
                return None
            step = steps[-1]
        elif step not in steps:
            raise CheckpointError(f"{self.store.url}: no checkpoint of step {step}; there are {steps or 'none'}")
        manifest = read_manifest(self.store, step)
        where = f"{self.store.url}/{_folder(step)}/{STATE}"
        content = self.store.get(f"{_folder(step)}/{STATE}", manifest.bytes)
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise CheckpointError(
                f"{where}: its SHA-256 is not the manifest's: it was damaged; "
                f"delete {_folder(step)} to go on from the one before"
            )
        return _loaded(content, where)

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
                self._fast_retry.put_file(f"{_folder(step)}/{STATE}", path)
                guard()
                manifest = Manifest(step, path.stat().st_size, sha256, time.time())
                self._fast_retry.put(f"{_folder(step)}/{MANIFEST}", json.dumps(asdict(manifest)).encode())
                for old in complete_steps(self._fast_retry)[: -self.keep]:
                    discard(self._fast_retry, _objects(old))
            except (DataError, OSError, RuntimeError) as error:
                raise CheckpointError(self._explain(step, error)) from error

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
    """The networks' weights of a run's newest checkpoint.

    Raises:
        CheckpointError: when there is none yet.
    """
    state = Checkpoints(store, keep=1).load()
    if state is None:
        raise CheckpointError(f"{store.url}: has no checkpoint yet; train that run first")
    networks: dict[str, Any] = state["networks"]
    return networks


def complete_steps(store: Store) -> list[int]:
    """Steps of a run's complete checkpoints, ascending. Objects with other names are passed over."""
    found = (_MANIFEST_KEY.fullmatch(key) for key in store.keys(f"{FOLDER}/"))
    return sorted(int(name["step"]) for name in found if name)


def read_manifest(store: Store, step: int) -> Manifest:
    """Read the manifest of a complete checkpoint.

    Raises:
        DataError: when it is not one.
    """
    key = f"{_folder(step)}/{MANIFEST}"
    return parse_json(store.get(key), Manifest, f"{store.url}/{key}")


def _loaded(content: bytes, where: str) -> dict[str, Any]:
    """Load a state. Nothing in it is executed, and it needs no more memory than it has bytes.

    Raises:
        CheckpointError: when it is not a state.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(content):
                raise CheckpointError(f"{where}: its parts are compressed, which no checkpoint's are; it is not loaded")
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch documents none of what it raises for content that is not its own
        raise CheckpointError(f"{where}: is not a checkpoint's state ({in_one_line(error, 120)})") from None
    return state


def _objects(step: int) -> tuple[str, str]:
    """The keys of a checkpoint in the order in which they are deleted: without its manifest it does not exist."""
    return f"{_folder(step)}/{MANIFEST}", f"{_folder(step)}/{STATE}"


def _folder(step: int) -> str:
    return f"{FOLDER}/step-{step:08d}"
