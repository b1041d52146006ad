"""Scratch folders are removed, also those of processes that were killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unbraid.trainers.runs.scratch import scratch_folder

HOLD = """
from unbraid.trainers.runs.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "state").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    input()
"""


def hold(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    environment = os.environ | {"TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def age(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_a_folder_is_gone_after_its_block_and_that_of_a_killed_process_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (killed, left), (living, used) = hold(tmp_path), hold(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    age(left)
    age(used)
    with scratch_folder() as mine:
        assert not left.exists()
        assert (used / "state").exists()
        assert list(mine.iterdir()) == []
    assert not mine.exists()
    living.communicate("\n")
    assert not used.exists()
