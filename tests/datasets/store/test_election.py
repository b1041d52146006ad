"""Without conditional writes, launches claim a place by entries of their own; the server that lacks them is played."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.datasets.store import played_s3 as played
from tests.datasets.store.played_s3 import Play
from tests.datasets.store.test_played import URL
from tests.trainers.launch.test_launch import wait_for
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.store import lease as lease_module
from unbraid.datasets.store.lease import HOLDER, HeldError, Holder, Lease, newest

BUSY = f"the set is being packed by {HOLDER}"
DEAD = f"lease/00000001.{0:032x}.claim"
"""The claim of a launch that died before it looked at the others; it is the first by name."""


@pytest.fixture(params=["ignored", "refused"])
def store(request: pytest.FixtureRequest, play: Play, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease_module, "EXPIRY_SECONDS", 3.0)
    monkeypatch.setattr(lease_module, "ELECTION_SECONDS", 0.5)
    server = play(*[played.UNCONDITIONAL] * (request.param == "refused"))
    server.honours_conditions = False
    return open_store(URL)


@pytest.fixture
def said() -> Iterator[list[str]]:
    yield []


def test_a_place_is_claimed_and_what_is_lost_is_said_once(store: Store, said: list[str]) -> None:
    with Lease.acquire(store, BUSY, on_wait=said.append) as first:
        assert first.generation == 1
        with pytest.raises(HeldError, match="the set is being packed by process"):
            Lease.acquire(open_store(URL), BUSY, on_wait=lambda message: None)
    (message,) = said
    assert "no conditional writes" in message
    assert "the first by name goes on after 0.5 s; a launch that stalls for longer than that may not be noticed" in message
    with Lease.acquire(open_store(URL), BUSY, on_wait=said.append) as second:
        assert second.generation == 2
        assert [key for key in store.keys("lease/") if key.startswith("lease/00000001")] == []


@pytest.mark.parametrize("apart", [0.0, 0.2])
def test_of_many_launches_at_once_one_goes_on(store: Store, apart: float) -> None:
    """Whether all look at the same time, or some only after the first has gone on."""
    start = threading.Barrier(6)
    held: list[Lease] = []
    refused: list[HeldError] = []

    def launch(number: int) -> None:
        start.wait()
        time.sleep(number * apart)
        try:
            lease = Lease.acquire(open_store(URL), BUSY, job=f"job-{number}", on_wait=lambda message: None)
        except HeldError as error:
            refused.append(error)
        else:
            with lease:
                held.append(lease)
                done.wait(20)

    done = threading.Event()
    threads = [threading.Thread(target=launch, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(held) + len(refused) == 6, "all launches")
    done.set()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 5)
    assert held[0].superseded_by is None
    assert newest(store)[0] == 1


def test_a_claim_whose_launch_has_died_is_passed_over(store: Store) -> None:
    store.put(DEAD, b"")
    started = time.monotonic()
    with Lease.acquire(store, BUSY, on_wait=lambda message: None) as lease:
        assert lease.generation == 1
    assert time.monotonic() - started > lease_module.EXPIRY_SECONDS


@pytest.mark.parametrize("may_delete", [True, False])
def test_a_place_that_was_given_back_without_a_record_is_free_at_once(
    store: Store, play: Play, may_delete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "EXPIRY_SECONDS", 30.0)
    if not may_delete:
        play(played.APPEND_ONLY, played.UNCONDITIONAL)
        store = open_store(URL)
    started = time.monotonic()
    for _ in range(3):
        with Lease.acquire(open_store(URL), BUSY, on_wait=lambda message: None, keep=False):
            pass
    assert time.monotonic() - started < lease_module.EXPIRY_SECONDS
    assert bool(store.keys()) != may_delete


def test_a_launch_that_was_not_seen_is_noticed_when_the_lease_is_renewed(store: Store) -> None:
    with Lease.acquire(store, BUSY, on_wait=lambda message: None) as lease:
        other = replace(Holder.here("job-2"), host="elsewhere")
        wait_for(lambda: _overwritten(store, other, lease), "the notice")
        assert lease.superseded_by is not None
        assert lease.superseded_by.is_same(other)


def _overwritten(store: Store, other: Holder, lease: Lease) -> bool:
    store.put("lease/00000001.json", lease_module._json(other))
    return lease.superseded_by is not None
