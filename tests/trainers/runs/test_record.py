"""How a run ended is recorded where that is possible; what ended it is what its user is shown."""

import errno
from pathlib import Path

import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore
from unbraid.trainers.errors import RunError, SupersededError
from unbraid.trainers.runs.record import read_run, write_end, write_run


def test_an_end_is_recorded_with_its_cause(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    write_run(store, {"status": "running"})
    write_end(store, RunError("it broke"))
    assert (read_run(store)["status"], read_run(store)["message"]) == ("failed", "it broke")


def test_a_record_that_cannot_be_written_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = FolderStore(tmp_path, create=True)
    write_run(store, {"status": "running"})

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(DataError, match=r"metrics\.jsonl: No space left on device; free space there and repeat the command"):
        store.put("metrics.jsonl", b"")
    write_end(store, RunError("it broke"))
    assert "the record of the run cannot say how it ended: " in caplog.text


def test_the_record_of_another_launch_is_left_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    write_run(store, {"status": "running"})
    error = RunError("another goes on")
    error.__cause__ = SupersededError("it")
    write_end(store, error)
    assert read_run(store)["status"] == "running"
