"""TensorBoard's file: complete where it can be written, and no run's end where it cannot."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from unbraid.trainers.runs.board import Board

PICTURE = torch.full((3, 4, 4), 200, dtype=torch.uint8)


def events(folder: Path) -> list[Event]:
    """All events in the folder's one file, by TFRecord's framing: length, its checksum, content, its checksum."""
    (file,) = folder.iterdir()
    content, found = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event()
        event.ParseFromString(content[12 : 12 + length])
        found.append(event)
        content = content[16 + length :]
    return found


def test_scalars_and_pictures_are_there_after_a_flush(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", 7, pytest.fail)
    board.scalar("loss/d", 0.5, 8)
    board.picture("preview/fake", PICTURE, 9)
    board.flush()
    version, start, scalar, picture = events(tmp_path / "board")
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (8, 1), "what an earlier launch wrote from here on is not shown"
    assert (scalar.step, scalar.summary.value[0].tag, scalar.summary.value[0].simple_value) == (8, "loss/d", 0.5)
    assert (picture.step, picture.summary.value[0].image.height) == (9, 4)
    board.close()


@pytest.mark.parametrize("method", ["write", "flush", "close"])
def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    board = Board(tmp_path, 0, said.append)

    def full(writer: RecordWriter, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, method, full)
    for step in range(3):
        board.scalar("loss/d", 0.5, step)
        board.picture("fake", PICTURE, step)
        board.flush()
    board.close()
    assert said == ["TensorBoard's file cannot be written ([Errno 28] No space left on device); the run goes on without it"]


def test_a_place_that_cannot_be_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    board = Board(tmp_path / "file", 0, said.append)
    board.scalar("loss/d", 0.5, 1)
    board.close()
    assert len(said) == 1 and "cannot be written" in said[0]


def test_two_threads_may_add(tmp_path: Path) -> None:
    board = Board(tmp_path, 0, pytest.fail)

    def add(write: Callable[[int], None]) -> None:
        for step in range(50):
            write(step)

    threads = [
        threading.Thread(target=add, args=[lambda step: board.scalar("a", step, step)]),
        threading.Thread(target=add, args=[lambda step: board.picture("b", PICTURE, step)]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    board.close()
    assert len(events(tmp_path)) == 2 + 100
