"""Checkpoints: complete, atomic, checked; a full disk loses nothing."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.trainers.systems.infogan.test_system import batch, infogan, weights
from unbraid.datasets.store import FolderStore
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.checkpoint import Checkpoints, load_system_state, system_state


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "run", create=True)


def test_a_restored_system_continues_bit_for_bit(store: FolderStore) -> None:
    first, second = infogan(), infogan("run.seed=0")
    for i in range(2):
        first.step(batch(i))
    Checkpoints(store, keep=2).write(2, system_state(first))
    first.step(batch(9))
    state = Checkpoints(store, keep=2).load()
    assert state is not None
    load_system_state(second, state)
    assert second.updates == 2
    second.step(batch(9))
    for name in first.networks:
        assert torch.equal(weights(first, name), weights(second, name)), name


def test_only_the_newest_are_kept(store: FolderStore) -> None:
    checkpoints = Checkpoints(store, keep=2)
    for step in (5, 10, 15):
        checkpoints.write(step, {"x": torch.tensor(step)})
    assert checkpoints.steps() == [10, 15]
    assert len(store.keys("checkpoints/")) == 4


def test_a_checkpoint_without_manifest_does_not_exist(store: FolderStore) -> None:
    checkpoints = Checkpoints(store, keep=2)
    checkpoints.write(5, {"x": torch.tensor(5)})
    store.put("checkpoints/step-00000010/state.pt", b"half of it")
    state = checkpoints.load()
    assert state is not None
    assert state["x"].item() == 5


def test_a_damaged_checkpoint_is_refused_by_name(store: FolderStore) -> None:
    checkpoints = Checkpoints(store, keep=2)
    checkpoints.write(5, {"x": torch.zeros(100)})
    path = store.root / "checkpoints/step-00000005/state.pt"
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"step-00000005/state\.pt: its SHA-256"):
        checkpoints.load()


def test_the_error_for_a_missing_step_names_those_there_are(store: FolderStore) -> None:
    checkpoints = Checkpoints(store, keep=2)
    checkpoints.write(5, {"x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 7; there are \[5\]"):
        checkpoints.load(7)


def test_a_checkpoint_of_other_codes_is_refused(store: FolderStore) -> None:
    state = system_state(infogan("codes.categorical=[5]"))
    with pytest.raises(CheckpointError, match="does not fit this configuration"):
        load_system_state(infogan(), state)


@pytest.fixture
def files_of_a_mebibyte() -> Iterator[None]:
    """No file may grow beyond 1 MiB: the kernel refuses the write, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_the_complete_checkpoints_and_the_error_says_so(
    store: FolderStore, files_of_a_mebibyte: None
) -> None:
    checkpoints = Checkpoints(store, keep=2)
    checkpoints.write(5, {"x": torch.zeros(10)})
    with pytest.raises(CheckpointError, match=r"checkpoint of step 10 could not be written .*step 5 is complete; free space"):
        checkpoints.write(10, {"x": torch.zeros(1 << 20)})
    state = checkpoints.load()
    assert state is not None
    assert state["x"].shape == (10,)


def test_too_little_space_is_refused_before_training(store: FolderStore) -> None:
    with pytest.raises(CheckpointError, match=r"MiB free, but .* MiB are needed"):
        Checkpoints(store, keep=2).require_space(1 << 60)
