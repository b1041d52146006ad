"""Faults of networks and servers, made by a proxy before the real S3 server."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.datasets.store.fault_proxy import Fault, FaultProxy, fault_proxy
from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_array
from unbraid.datasets.shards.index import Field, Index, write_index
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.store import open_store
from unbraid.datasets.store.retry import Backoff
from unbraid.datasets.store.s3 import S3Store
from unbraid.datasets.stream.stream import Position, SampleStream

SIZE = 3 << 20
CONTENT = np.random.default_rng(0).bytes(SIZE)
Faults = Callable[[int, str], Fault | None]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses and timeouts, so that tests take seconds."""
    monkeypatch.setattr("unbraid.datasets.store.s3.READ_SECONDS", 0.5)
    monkeypatch.setattr("unbraid.datasets.store.s3.default_backoff", lambda: Backoff(attempts=5, first=0.01, longest=0.05))


@pytest.fixture
def through(services: object, quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Faults], FaultProxy]]:
    """Start a proxy; all later requests pass through it."""
    proxies: list[Any] = []
    endpoint = os.environ["AWS_ENDPOINT_URL"]

    def start(fault: Faults, **options: float) -> FaultProxy:
        context = fault_proxy(endpoint, fault, **options)
        proxy = context.__enter__()
        proxies.append(context)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        return proxy

    yield start
    for context in proxies:
        context.__exit__(None, None, None)


@pytest.fixture
def large(bucket_url: str) -> str:
    """The URL of a prefix that holds 3 MiB under ``large``."""
    open_store(bucket_url).put("large", CONTENT)
    return bucket_url


def of_gets(*faults: Fault) -> Faults:
    """These faults, one after the other, for the first GETs."""
    left = list(faults)
    return lambda number, line: left.pop(0) if left and line.startswith("GET") else None


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("cut", "ConnectionBroken"),
        ("truncate", "ConnectionBroken"),
        ("stall", "Timeout"),
        ("slow_down", "SlowDown"),
        ("internal_error", "InternalError"),
    ],
)
def test_a_transient_fault_is_survived_and_counted(large: str, through: Any, fault: Fault, cause: str) -> None:
    through(of_gets(fault, fault, fault))
    store = open_store(large)
    assert bytes(store.get_range("large", 1000, SIZE - 1000)) == CONTENT[1000:]
    assert dict(store.statistics.retries) == {cause: 3}


def test_whole_objects_survive_a_cut_too(large: str, through: Any) -> None:
    through(of_gets("cut", "cut"))
    assert open_store(large).get("large") == CONTENT


def test_after_a_cut_only_what_is_missing_is_read_again(large: str, through: Any) -> None:
    proxy = through(of_gets("cut", "cut", "cut"), after=900_000)
    store = open_store(large)
    assert bytes(store.get_range("large", 0, SIZE)) == CONTENT
    assert len(proxy.faults) == 3
    assert proxy.passed - SIZE <= 3 * (1 << 20)
    assert store.statistics.bytes == SIZE


def test_a_server_that_stays_down_ends_in_one_error_that_names_it(large: str, through: Any) -> None:
    through(lambda number, line: "slow_down")
    with pytest.raises(DataError, match=r"/large: S3 answered SlowDown, 5 times in a row"):
        open_store(large).get("large")


def test_a_server_that_falls_silent_for_good_ends_in_one_error(large: str, through: Any) -> None:
    through(lambda number, line: "stall", after=0, stall=2.0)
    with pytest.raises(DataError, match=r"/large: S3 at .* did not serve it \(ReadTimeoutError.*5 times in a row"):
        open_store(large).get_range("large", 0, SIZE)


def test_a_request_with_expired_credentials_is_not_repeated(large: str, through: Any) -> None:
    proxy = through(lambda number, line: "expired")
    with pytest.raises(DataError, match=r"the credentials have expired \(ExpiredToken\); renew them"):
        open_store(large).get("large")
    assert len(proxy.requests) == 1


def test_an_object_shorter_than_its_index_says_is_an_error(large: str) -> None:
    store = open_store(large)
    with pytest.raises(DataError, match="ends 5 bytes early"):
        store.get_range("large", SIZE - 5, 10)
    with pytest.raises(DataError, match="is shorter than its index says"):
        store.get_range("large", SIZE + 5, 10)


def stream(url: str, **options: Any) -> SampleStream:
    return SampleStream(url, "train", **({"batch": 64, "lanes": 8, "window": 50, "seed": 0} | options))


def epoch(source: SampleStream) -> torch.Tensor:
    with source:
        return torch.cat([next(source)["image"] for _ in range(source.order.batches)])


EARLY = 5
"""Requests at the start of an epoch: their samples are needed in it, those of the last may be read ahead for the next."""


def test_bytes_changed_on_the_way_are_read_again(digits_url: str, through: Any) -> None:
    whole = epoch(stream(digits_url))
    seen: set[str] = set()

    def once_a_shard(number: int, line: str) -> Fault | None:
        if ".tar" not in line or line in seen or len(seen) == EARLY:
            return None
        seen.add(line)
        return "corrupt"

    through(once_a_shard, after=3000)
    source = stream(digits_url)
    assert torch.equal(epoch(source), whole)
    assert source.store.statistics.retries["Checksum"] == len(seen) == EARLY


@pytest.mark.slow
def test_an_epoch_through_one_fault_in_twenty_requests_is_the_same(digits_url: str, through: Any) -> None:
    whole = epoch(stream(digits_url))
    chance = random.Random(0)
    kinds: list[Fault] = ["cut", "truncate", "stall", "corrupt", "slow_down", "internal_error"]

    def sometimes(number: int, line: str) -> Fault | None:
        if not line.startswith("GET") or chance.random() >= 0.05:
            return None
        fault = chance.choice(kinds)
        return "cut" if fault == "corrupt" and "index.json" in line else fault  # an index has no checksum

    proxy = through(sometimes, after=2000)
    for _ in range(5):
        source = stream(digits_url, prefetch_bytes=200_000)
        assert torch.equal(epoch(source), whole)
    assert len(proxy.faults) >= 5


def test_closing_does_not_wait_for_a_server_that_fell_silent(digits_url: str, through: Any) -> None:
    silenced = threading.Event()
    may_fail = threading.Event()

    def silent_later(number: int, line: str) -> Fault | None:
        if not may_fail.is_set() or ".tar" not in line:
            return None
        silenced.set()
        return "stall"

    proxy = through(silent_later, after=0, stall=60.0)
    source = stream(digits_url, prefetch_bytes=200_000)
    next(source)
    may_fail.set()
    while not silenced.wait(0.05):  # until one more read is needed
        if not source._ready.empty():
            next(source)
    reading = [thread for thread in threading.enumerate() if thread.name.startswith("read-shards")]
    requests = len(proxy.requests)
    source.close()
    for thread in reading:
        thread.join(30)
    assert not any(thread.is_alive() for thread in reading)
    assert len(proxy.requests) - requests <= len(reading)  # at most the one that each thread was about to send


def test_a_missing_shard_ends_the_stream_with_its_key(bucket_url: str) -> None:
    from tests.conftest import pack_digits

    store = open_store(bucket_url)
    pack_digits(store)
    store.delete("train-00007.tar")
    with pytest.raises(DataError, match=rf"{bucket_url}/train-00007\.tar: no such object"):
        epoch(stream(bucket_url))


@pytest.mark.slow
def test_going_on_in_the_middle_of_a_gigabyte_reads_only_the_rest(bucket_url: str) -> None:
    """One shard of 1 GiB, 1,024 samples of 1 MiB, entered in the middle: no replay."""
    fields = {"values": Field("array", ("values.npy",), (512, 512))}
    values = np.arange(512 * 512, dtype=np.float32).reshape(512, 512)
    samples = ({"__key__": f"{i:04d}", "values.npy": encode_array(values + i)} for i in range(1024))
    store = open_store(bucket_url)
    shard = write_shard(store, "train-000000.tar", fields, samples)
    write_index(store, Index("large", fields, (), "", "", {"train": (shard,)}))
    assert shard.bytes > 1 << 30
    settings: dict[str, Any] = {"batch": 8, "lanes": 1, "window": 8, "prefetch_bytes": 64 << 20}
    # the second epoch is fetched ahead, so the bytes are counted before the last batch
    with stream(bucket_url, position=Position(0, 64), **settings) as source:
        assert isinstance(source.store, S3Store)
        first = next(source)["values"][:, 0, 0]
        requests = source.store.statistics.requests
        for _ in range(56):
            next(source)
        read = source.store.statistics.bytes
    window = [at for stretch in source.order.stretches(0, 0, 512, 520) for at in range(stretch.first, stretch.last)]
    assert first.tolist() == [window[at] for at in source.order.permutation(0, 0, range(64, 65))]
    assert requests <= 2 + 1 + 8  # index, table, and the reads ahead that the budget allows
    assert read <= 1.05 * (shard.bytes / 2)
