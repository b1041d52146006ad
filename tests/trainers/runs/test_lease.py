"""One launch at a time: who holds a run, who may take it over, and who hears that it was."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from unbraid.datasets.store import Store, open_store
from unbraid.trainers.runs import lease as lease_module
from unbraid.trainers.errors import ConfigError, SupersededError
from unbraid.trainers.runs.lease import Holder, Lease, Lookout, newest, request_stop


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path))
    return open_store(request.getfixturevalue("bucket_url"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is renewed ten times a second."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease_module, "EXPIRY_SECONDS", 3.0)
    monkeypatch.setattr(Lookout, "SECONDS", 0.1)


def elsewhere(store: Store) -> Holder:
    """The newest holder as another machine's, which cannot be looked at from here."""
    generation, holder = newest(store)
    assert holder is not None
    other = replace(holder, host="elsewhere")
    store.put(f"lease/{generation:08d}.json", lease_module._json(other))
    return other


def test_of_two_that_claim_the_same_number_one_succeeds(store: Store) -> None:
    assert store.put_new("claim", b"mine")
    assert not store.put_new("claim", b"yours")
    assert store.get("claim") == b"mine"


def test_a_run_that_is_trained_is_refused_and_its_holder_named(store: Store) -> None:
    with Lease.acquire(store, "mine", "job-1"), pytest.raises(ConfigError, match=r"run mine is being trained by job job-1"):
        Lease.acquire(store, "mine", report=lambda text: None)


def test_a_run_that_was_given_back_is_free_at_once(store: Store) -> None:
    with Lease.acquire(store, "mine") as first:
        pass
    started = time.monotonic()
    with Lease.acquire(store, "mine") as second:
        assert second.generation == first.generation + 1
    assert time.monotonic() - started < 2


def test_a_holder_elsewhere_that_is_silent_is_taken_over_and_hears_of_it(store: Store) -> None:
    first = Lease.acquire(store, "mine")  # and never renewed
    elsewhere(store)
    told: list[str] = []
    with Lookout(store, first.generation) as lookout, Lease.acquire(store, "mine", report=told.append):
        until = time.monotonic() + 5
        while lookout.superseded is None and time.monotonic() < until:
            time.sleep(0.05)
        with pytest.raises(SupersededError, match="this run has been taken over"):
            lookout.require_lease()
    assert "waiting up to 3 s" in told[0]


def test_a_stop_is_heard_once_and_only_by_the_launch_that_is_meant(store: Store) -> None:
    with Lease.acquire(store, "mine") as lease, Lookout(store, lease.generation) as meant, Lookout(store) as other:
        assert not meant.wants_checkpoint()
        request_stop(store, lease.generation)
        until = time.monotonic() + 5
        while not meant.stop and time.monotonic() < until:
            time.sleep(0.05)
        assert meant.wants_checkpoint()
        assert not meant.wants_checkpoint()
        assert not other.stop


def test_a_notice_wants_a_checkpoint_at_once_and_one_just_before_the_end(tmp_path: Path) -> None:
    deadline = time.time() + Lookout.HOLD_SECONDS + 1.5
    with Lookout(open_store(str(tmp_path)), notice=lambda: deadline) as lookout:
        time.sleep(0.5)
        assert [lookout.wants_checkpoint(), lookout.wants_checkpoint(), lookout.holds] == [True, False, False]
        time.sleep(1.5)
        assert [lookout.holds, lookout.wants_checkpoint()] == [True, True]
