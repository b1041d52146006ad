"""Who holds a place: a live process is never taken for a dead one, and a dead one of this process table is seen at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.trainers.launch.test_launch import wait_for
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.store import lease as lease_module
from unbraid.datasets.store.lease import HeldError, Holder, Lease, newest
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.runs.open import claim_run
from unbraid.trainers.runs.record import write_run

HOLD = """
import sys, time
from unbraid.datasets.store import lease, open_store
lease.RENEW_SECONDS = 0.5
with lease.Lease.acquire(open_store(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""
CONTAINER = ["unshare", "--pid", "--fork", "--kill-child"]
"""A process table of its own, under the same name of the host."""


@contextmanager
def holding(store: Store, *launcher: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease of a place."""
    command = [*launcher, sys.executable, "-c", HOLD, store.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def require_containers() -> None:
    if subprocess.run([*CONTAINER, "--mount-proc", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare: no process table of one's own may be made here (that takes root)")


@pytest.mark.parametrize("mount", [["--mount-proc"], []])
def test_a_live_holder_in_another_process_table_is_not_taken_over(mount: list[str], tmp_path: Path) -> None:
    """Without a /proc of its own, it cannot say which table it is in."""
    require_containers()
    store = open_store(str(tmp_path))
    with holding(store, *CONTAINER, *mount):
        _, holder = newest(store)
        assert holder is not None
        assert holder.host == Holder.here().host
        assert bool(holder.processes) == bool(mount)
        assert not holder.is_gone
        with pytest.raises(HeldError):
            Lease.acquire(store, "busy", on_wait=lambda message: None)


def test_a_holder_whose_pid_another_process_has_is_gone() -> None:
    here = Holder.here()
    assert here.processes
    assert not here.is_gone
    assert replace(here, born="1").is_gone
    assert replace(here, pid=2**31 - 1).is_gone
    for table in ("", "another boot pid:[4026531836]"):
        assert not replace(here, pid=2**31 - 1, processes=table).is_gone


def test_an_entry_of_an_earlier_version_is_waited_for(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    entry = lease_module._json(replace(Holder.here(), born="1")).replace(b', "processes"', b', "unknown"')
    store.put("lease/00000001.json", entry)
    _, holder = newest(store)
    assert holder is not None
    assert not holder.is_gone


def test_a_killed_trainer_is_seen_at_once_by_list_delete_and_the_next_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    storage = str(tmp_path / "runs")
    store = claim_run(resolve("infogan-mnist", ["run.name=mine", f"run.storage={storage}"]), "test", {})
    write_run(store, {"status": "running"})

    def runs(*arguments: str) -> str:
        return CliRunner().invoke(main, ["runs", *arguments, "--storage", storage]).output

    with holding(store) as process:
        assert "running" in runs("list")
        assert "is being trained by process" in runs("delete", "mine", "--yes")
        process.send_signal(signal.SIGKILL)
        process.wait()
        started = time.monotonic()
        assert "interrupted" in runs("list")
        with Lease.acquire(store, "busy"):
            pass
        assert "objects deleted" in runs("delete", "mine", "--yes")
        assert time.monotonic() - started < lease_module.EXPIRY_SECONDS / 2
    wait_for(lambda: not store.keys(), "the end of the run's files")
