"""Recorders: training waits for no picture, nothing recorded is lost, and errors of the storage reach the training thread."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.runs.conftest import Trouble
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore, open_store
from unbraid.datasets.store.s3 import S3Store
from unbraid.trainers.errors import SupersededError
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.record import METRICS_KEY, read_metrics
from unbraid.trainers.runs.recorder import Recorder, SilentRecorder, StorageRecorder

PICTURE = torch.zeros(3, 4, 4, dtype=torch.uint8)


class SlowPictures:
    """A folder that writes pictures only when they are allowed; everything else at once.

    Attributes:
        written: keys in the order in which they were written.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.allowed = threading.Event(), threading.Event()
        self.written: list[str] = []
        put = FolderStore.put

        def slow(store: FolderStore, key: str, content: bytes) -> None:
            if key.endswith(".png"):
                self.begun.set()
                assert self.allowed.wait(60)
            put(store, key, content)
            self.written.append(key)

        monkeypatch.setattr(FolderStore, "put", slow)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "run", create=True)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowPictures:
    return SlowPictures(monkeypatch)


def test_training_does_not_wait_for_pictures_on_their_way_to_a_slow_storage(store: FolderStore, slow: SlowPictures) -> None:
    with StorageRecorder(store, 0) as recorder:
        recorder.pictures(1, {"fake": PICTURE}, "preview")  # returns although nothing is written
        assert slow.begun.wait(60)
        recorder.pictures(2, {"fake": PICTURE, "real": PICTURE}, "preview")
        recorder.scalars(2, {"loss/d": 1.0})
        recorder.flush()  # a checkpoint needs the lines before it, not the pictures
        assert [line["step"] for line in read_metrics(store)] == [2]
        assert store.keys("preview/") == []
        slow.allowed.set()
        recorder.flush(must=True)
        order = ["preview/fake/00000001.png", "preview/fake/00000002.png", "preview/real/00000002.png"]
        assert [key for key in slow.written if key.endswith(".png")] == order


@pytest.mark.parametrize("error", [None, ValueError("training ended")])
def test_all_pictures_are_complete_after_the_block_however_it_ends(
    store: FolderStore, slow: SlowPictures, error: Exception | None
) -> None:
    def train() -> None:
        with StorageRecorder(store, 0) as recorder:
            for step in range(1, 6):
                recorder.pictures(step, {"fake": PICTURE}, "preview")
                assert slow.begun.wait(60)
            threading.Timer(0.2, slow.allowed.set).start()
            if error is not None:
                raise error

    if error is None:
        train()
    else:
        with pytest.raises(ValueError, match="training ended"):
            train()
    assert store.keys("preview/") == [f"preview/fake/0000000{step}.png" for step in range(1, 6)]


def test_pictures_that_a_disk_refuses_are_an_error_in_the_training_thread(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = FolderStore.put

    def refuse(store: FolderStore, key: str, content: bytes) -> None:
        if key.endswith(".png"):
            raise DataError(f"{key}: No space left on device")
        put(store, key, content)

    monkeypatch.setattr(FolderStore, "put", refuse)
    with pytest.raises(DataError, match="No space left"), StorageRecorder(store, 0) as recorder:
        recorder.scalars(1, {"loss/d": 1.0})
        recorder.scalars(2, {"loss/d": 2.0})
        recorder.pictures(2, {"fake": PICTURE}, "preview")
    assert [line["step"] for line in read_metrics(store)] == [1, 2]


def test_a_picture_that_cannot_be_encoded_is_an_error_in_the_training_thread(store: FolderStore) -> None:
    with pytest.raises(RuntimeError, match="number of dimensions"), StorageRecorder(store, 0) as recorder:
        recorder.pictures(1, {"flat": PICTURE[0, 0]}, "preview")
        recorder.flush(must=True)


def test_an_error_of_training_is_not_hidden_by_a_picture_that_cannot_be_written(store: FolderStore) -> None:
    with pytest.raises(ValueError, match="training ended"), StorageRecorder(store, 0) as recorder:
        recorder.pictures(1, {"flat": PICTURE[0, 0]}, "preview")
        raise ValueError("training ended")


def test_a_superseded_launch_writes_nothing(store: FolderStore) -> None:
    def guard() -> None:
        raise SupersededError("this run has been taken over")

    with pytest.raises(SupersededError), StorageRecorder(store, 0, guard) as recorder:
        recorder.pictures(1, {"fake": PICTURE}, "preview")
        recorder.scalars(1, {"loss/d": 1.0})
    assert [path.name for path in store.root.iterdir()] == ["tensorboard"]


def test_lines_after_the_step_that_training_goes_on_from_are_removed(store: FolderStore) -> None:
    with StorageRecorder(store, 0) as recorder:
        for step in (1, 2, 3):
            recorder.scalars(step, {"loss/d": float(step)})
    with StorageRecorder(store, 2) as recorder:
        assert [line["step"] for line in recorder.lines()] == [1, 2]
        recorder.scalars(3, {"loss/d": 30.0})
    assert [line["loss/d"] for line in read_metrics(store)] == [1.0, 2.0, 30.0]


def test_what_is_recorded_while_the_storage_is_away_is_written_when_it_is_back(trouble: Trouble, bucket_url: str) -> None:
    store = open_store(bucket_url)
    assert isinstance(store, S3Store)
    with StorageRecorder(store, 0) as recorder:
        recorder.scalars(1, {"loss/d": 1.0})
        recorder.flush()
        trouble.fault = "slow_down"
        recorder.scalars(2, {"loss/d": 2.0})
        recorder.pictures(2, {"fake": PICTURE}, "preview")
        recorder.flush()
        assert [line["step"] for line in read_metrics(store)] == [1]
        trouble.fault = None
        recorder.scalars(3, {"loss/d": 3.0})
    assert [line["step"] for line in read_metrics(store)] == [1, 2, 3]
    assert store.exists("preview/fake/00000002.png")
    assert [event.kind for event in read_events(store)] == ["storage_away", "storage_back"]
    assert store.exists(METRICS_KEY)


@pytest.mark.parametrize("make", [lambda store: StorageRecorder(store, 0), lambda store: SilentRecorder()])
def test_both_recorders_return_the_line_and_only_one_writes(
    store: FolderStore, make: Callable[[FolderStore], Recorder]
) -> None:
    pictures: dict[str, Tensor] = {"fake": PICTURE}
    with make(store) as recorder:
        line = recorder.scalars(1, {"loss/d": 1.0})
        recorder.pictures(1, pictures, "preview")
        recorder.event("preempted", "a node goes soon")
        recorder.flush(must=True)
        is_silent = isinstance(recorder, SilentRecorder)
        assert recorder.lines() == ([] if is_silent else [line])
    assert line | {"time": 0} == {"step": 1, "time": 0, "loss/d": 1.0}
    assert (store.keys() == []) == is_silent
