"""The lease: one process at a time writes to a place, and a lease that is not renewed is taken over."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainers.launch.test_launch import wait_for
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.store import lease as lease_module
from unbraid.datasets.store.lease import HOLDER, HeldError, Holder, Lease, newest, read_requests, request_stop

BUSY = f"run mine is being trained by {HOLDER}: follow or stop that one"


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
    with Lease.acquire(store, BUSY, "job-1"), pytest.raises(HeldError) as error:
        Lease.acquire(store, BUSY, on_wait=lambda message: None)
    assert str(error.value).startswith("run mine is being trained by job job-1, started by ")
    assert str(error.value).endswith(": follow or stop that one")


def test_leases_in_two_folders_of_a_place_know_nothing_of_each_other(store: Store) -> None:
    with Lease.acquire(store, BUSY), Lease.acquire(store, BUSY, folder="packing/lease") as packing:
        assert packing.generation == 1
        request_stop(store, 1)
        assert read_requests(store, 1, "packing/lease") == (False, None)
        packing.request_stop()
        wait_for(lambda: read_requests(store, 1, "packing/lease")[0], "the request")
        with pytest.raises(HeldError):
            Lease.acquire(store, BUSY, on_wait=lambda message: None, folder="packing/lease")
    assert [newest(store, folder)[1].released for folder in ("lease", "packing/lease")] == [True, True]  # type: ignore[union-attr]
    with Lease.acquire(store, BUSY, folder="packing/lease") as again:
        assert again.generation == 2
        assert store.keys("packing/") == ["packing/lease/00000002.json"]
    assert newest(store)[0] == 1


def test_a_run_that_was_given_back_is_free_at_once(store: Store) -> None:
    with Lease.acquire(store, BUSY) as first:
        pass
    started = time.monotonic()
    with Lease.acquire(store, BUSY) as second:
        assert second.generation == first.generation + 1
    assert time.monotonic() - started < 2


def test_a_silent_holder_of_another_machine_is_superseded(store: Store) -> None:
    first = Lease.acquire(store, BUSY)  # and never renewed
    elsewhere(store)
    messages: list[str] = []
    with Lease.acquire(store, BUSY, on_wait=messages.append) as second:
        assert second.generation == first.generation + 1
        stop, superseded_by = read_requests(store, first.generation)
        assert not stop
        holder = newest(store)[1]  # renewed again, maybe
        assert holder is not None
        assert superseded_by is not None
        assert replace(superseded_by, renewed=holder.renewed) == holder
        assert read_requests(store, second.generation) == (False, None)
    assert "waiting up to 3 s" in messages[0]


def test_a_holder_notices_that_it_was_superseded(store: Store) -> None:
    with Lease.acquire(store, BUSY) as lease:
        other = replace(Holder.here(), host="elsewhere")
        assert store.put_new(f"lease/{lease.generation + 1:08d}.json", lease_module._json(other))
        wait_for(lambda: lease.superseded_by is not None, "the notice")
        assert lease.superseded_by is not None
        assert replace(lease.superseded_by, renewed=other.renewed) == other
    assert newest(store) == (lease.generation + 1, other)  # its entry is not given back in the other's name


def test_a_request_to_stop_is_for_one_launch(store: Store) -> None:
    with Lease.acquire(store, BUSY) as lease:
        assert lease.seconds_since_stop == 0
        request_stop(store, lease.generation)
        assert read_requests(store, lease.generation) == (True, None)
        assert read_requests(store, lease.generation + 1)[0] is False


def test_a_lease_asks_for_a_stop_without_waiting_for_the_storage(store: Store) -> None:
    with Lease.acquire(store, BUSY) as lease:
        lease.request_stop(hurried=False)
        assert lease.stop_requested
        assert lease.seconds_since_stop == 0
        lease.request_stop()
        assert lease.seconds_since_stop > 0
        wait_for(lambda: read_requests(store, lease.generation)[0], "the request")
