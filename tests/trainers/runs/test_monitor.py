"""The run monitor: a requested stop, a takeover and a preemption reach the training loop."""

import math
from pathlib import Path

import pytest

from tests.trainers.launch.test_launch import wait_for
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore, Store
from unbraid.datasets.store import lease as lease_module
from unbraid.datasets.store.lease import Holder, request_stop
from unbraid.trainers.errors import SupersededError
from unbraid.trainers.runs.monitor import RunMonitor

FAR = 4_000_000_000.0
"""Seconds since the epoch, in the year 2096."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "run", create=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that looks a hundred times a second."""
    monkeypatch.setattr(RunMonitor, "POLL_SECONDS", 0.01)


def hold(store: Store, generation: int) -> Holder:
    holder = Holder.here(f"job-{generation}")
    assert store.put_new(f"lease/{generation:08d}.json", lease_module._json(holder))
    return holder


def test_a_stop_asks_the_launch_that_is_meant_for_one_checkpoint(store: Store) -> None:
    hold(store, 1)
    with RunMonitor(store, 1) as meant, RunMonitor(store) as without_lease:
        assert not meant.take_checkpoint_request()
        request_stop(store, 1)
        wait_for(lambda: meant.stop_requested, "the stop")
        assert [meant.take_checkpoint_request(), meant.take_checkpoint_request()] == [True, False]
        assert not without_lease.stop_requested


def test_a_superseded_launch_must_not_write(store: Store) -> None:
    hold(store, 1)
    with RunMonitor(store, 1) as monitor:
        monitor.require_lease()
        other = hold(store, 2)
        wait_for(lambda: monitor.superseded_by is not None, "the takeover")
        assert monitor.superseded_by == other
        with pytest.raises(SupersededError, match="this run has been taken over: job job-2"):
            monitor.require_lease()


def test_a_preemption_asks_for_a_checkpoint_at_once_and_for_one_just_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunMonitor(store, preemption=lambda: FAR) as monitor:
        wait_for(lambda: monitor.deadline is not None, "the preemption")
        asked = [monitor.take_checkpoint_request(), monitor.take_checkpoint_request(), monitor.must_pause]
        assert asked == [True, False, False]
        monkeypatch.setattr(RunMonitor, "PAUSE_SECONDS", FAR)  # the deadline is near now
        assert [monitor.must_pause, monitor.take_checkpoint_request(), monitor.take_checkpoint_request()] == [True, True, False]


def test_a_preemption_and_a_stop_are_answered_one_by_one(store: Store) -> None:
    hold(store, 1)
    with RunMonitor(store, 1, preemption=lambda: math.inf) as monitor:
        wait_for(lambda: monitor.deadline is not None, "the preemption")
        assert [monitor.take_checkpoint_request(), monitor.take_checkpoint_request()] == [True, False]
        request_stop(store, 1)
        wait_for(lambda: monitor.stop_requested, "the stop")
        assert [monitor.take_checkpoint_request(), monitor.must_pause] == [True, False]


def test_training_goes_on_after_a_preemption_that_did_not_come(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunMonitor, "PAUSE_SECONDS", 0.05)
    deadlines = [1.0]  # long ago
    looks: list[float] = []

    def preemption() -> float:
        looks.append(deadlines[-1])
        return deadlines[-1]

    with RunMonitor(store, preemption=preemption) as monitor:
        wait_for(lambda: monitor.deadline is not None, "the preemption")
        assert monitor.must_pause
        assert monitor.take_checkpoint_request()
        monitor.wait_for_preemption()
        seen = len(looks)
        wait_for(lambda: len(looks) > seen + 2, "further looks")
        assert monitor.deadline is None  # the same notice does not count again
        assert not monitor.take_checkpoint_request()
        deadlines.append(FAR)
        wait_for(lambda: monitor.deadline == FAR, "another preemption")
        assert monitor.take_checkpoint_request()


def test_a_storage_that_is_away_is_no_reason_to_stop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(store, 1)
    looks: list[str] = []

    def away(store: FolderStore, prefix: str = "") -> list[str]:
        looks.append(prefix)
        raise DataError("no answer")

    keys = FolderStore.keys
    monkeypatch.setattr(FolderStore, "keys", away)
    with RunMonitor(store, 1) as monitor:
        wait_for(lambda: len(looks) > 2, "some looks")
        monitor.require_lease()
        monkeypatch.setattr(FolderStore, "keys", keys)
        request_stop(store, 1)
        wait_for(lambda: monitor.stop_requested, "the stop")
