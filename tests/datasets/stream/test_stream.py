"""The stream on a real S3 server: equal batches, the same order for any number of ranks, exact resume, errors by name."""

import dataclasses
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import SHARD, TEST, TRAIN, pack_digits
from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Shard, read_index, write_index
from unbraid.datasets.shards.table import Table, read_table
from unbraid.datasets.shards.tar import read_samples, write_shard
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.datasets.stream.read import ShardReader
from unbraid.datasets.stream.stream import Position, SampleStream, read_split

BATCH, LANES, WINDOW = 64, 8, 100


def stream(url: str, rank: int = 0, world_size: int = 1, **options: Any) -> SampleStream:
    settings: dict[str, Any] = {"batch": BATCH, "lanes": LANES, "window": WINDOW, "seed": 0} | options
    return SampleStream(url, "train", rank=rank, world_size=world_size, **settings)


def take(source: SampleStream, count: int) -> list[torch.Tensor]:
    with source:
        return [next(source)["image"] for _ in range(count)]


def test_an_epoch_gives_each_image_once(digits_url: str) -> None:
    with stream(digits_url) as source:
        batches = source.order.batches
        images = torch.cat([next(source)["image"] for _ in range(batches)])
        assert source.position == Position(1, 0)
    assert batches * BATCH == TRAIN
    assert images.dtype == torch.uint8
    packed = torch.cat([batch["image"] for batch in read_split(digits_url, "train", 100)])
    assert sorted(bytes(image.numpy()) for image in images) == sorted(bytes(image.numpy()) for image in packed)
    assert not torch.equal(images, packed)


def test_images_keep_their_labels(digits_url: str) -> None:
    batches = list(read_split(digits_url, "train", 100))
    labels = {bytes(i.numpy()): int(n) for b in batches for i, n in zip(b["image"], b["label"], strict=True)}
    with stream(digits_url) as source:
        batch = next(source)
    assert [labels[bytes(image.numpy())] for image in batch["image"]] == batch["label"].tolist()


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_together_see_what_one_sees(digits_url: str, ranks: int) -> None:
    alone = take(stream(digits_url), 30)  # more than an epoch
    shares = [take(stream(digits_url, rank, ranks), 30) for rank in range(ranks)]
    for number, batch in enumerate(alone):
        assert torch.equal(batch, torch.cat([share[number] for share in shares]))


@pytest.mark.parametrize("consumed", [7, 24, 25, 40])
def test_going_on_continues_the_sequence_with_other_ranks(digits_url: str, consumed: int) -> None:
    uninterrupted = take(stream(digits_url), consumed + 5)
    with stream(digits_url) as first:
        for _ in range(consumed):
            next(first)
        position = first.position
    shares = [take(stream(digits_url, rank, 2, position=position), 5) for rank in range(2)]
    for number, batch in enumerate(uninterrupted[consumed:]):
        assert torch.equal(batch, torch.cat([share[number] for share in shares]))


def test_another_seed_is_another_order(digits_url: str) -> None:
    assert not torch.equal(take(stream(digits_url, seed=0), 1)[0], take(stream(digits_url, seed=1), 1)[0])


def test_a_split_is_read_whole_with_its_remainder(digits_url: str) -> None:
    sizes = [len(batch["image"]) for batch in read_split(digits_url, "test", 100)]
    assert sizes == [100, TEST - 100]


@pytest.mark.parametrize("limit", [None, 1, 36, 37, 333, 10**6])
@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_ranks_read_every_batch_of_a_split_once(digits_folder: Path, ranks: int, limit: int | None) -> None:
    url = str(digits_folder)
    alone = list(read_split(url, "train", 37, limit))
    assert sum(len(batch["image"]) for batch in alone) == min(limit or TRAIN, TRAIN)
    shares = [list(read_split(url, "train", 37, limit, rank, ranks)) for rank in range(ranks)]
    assert sum(map(len, shares)) == len(alone)
    for number, batch in enumerate(alone):
        share = shares[number % ranks][number // ranks]
        assert all(torch.equal(share[field], batch[field]) for field in batch)


@pytest.mark.parametrize(("batch", "ranks"), [(37, 3), (75, 2), (200, 4)])
def test_a_rank_reads_only_the_bytes_of_its_own_batches(
    digits_folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int, ranks: int
) -> None:
    def ranges(rank: int, world_size: int) -> list[tuple[str, int, int]]:
        store, read = FolderStore(digits_folder), []
        get_range = store.get_range

        def recorded(key: str, start: int, length: int) -> memoryview:
            read.append((key, start, start + length))
            return get_range(key, start, length)

        monkeypatch.setattr(store, "get_range", recorded)
        monkeypatch.setattr("unbraid.datasets.shards.elsewhere.open_store", lambda url, backoff: store)
        list(read_split(str(digits_folder), "train", batch, None, rank, world_size))
        received[rank, world_size] = store.statistics.bytes
        return read

    received: dict[tuple[int, int], int] = {}
    together = [piece for rank in range(ranks) for piece in ranges(rank, ranks)]
    assert sorted(together) == sorted(ranges(0, 1))
    for rank in range(ranks):  # with the index and the tables
        assert received[rank, ranks] < 1.1 * received[0, 1] / ranks


def test_a_damaged_shard_stops_the_stream_by_name(tmp_path: Path) -> None:
    pack_digits(open_store(str(tmp_path)))
    path = tmp_path / "train-00007.tar"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00007\.tar: sample \d+: its checksum differs"), stream(str(tmp_path)) as source:
        for _ in range(source.order.batches):
            next(source)


def test_a_missing_shard_stops_the_stream_by_name(tmp_path: Path) -> None:
    pack_digits(open_store(str(tmp_path)))
    (tmp_path / "train-00007.tar").unlink()
    with pytest.raises(DataError, match=r"train-00007\.tar: no such file"), stream(str(tmp_path)) as source:
        for _ in range(source.order.batches):
            next(source)


def test_a_few_damaged_samples_may_be_replaced_by_their_neighbours(tmp_path: Path) -> None:
    index = pack_digits(open_store(str(tmp_path)))
    whole = take(stream(str(tmp_path)), 25)
    shard = index.shards("train")[7]
    table = read_table(open_store(str(tmp_path)), shard, len(index.fields))
    path = tmp_path / shard.name
    content = bytearray(path.read_bytes())
    for sample in (3, 30):
        content[int(table.offsets[sample]) + 600] ^= 1
    path.write_bytes(content)
    for ranks in (1, 2):
        sources = [stream(str(tmp_path), rank, ranks, max_skipped=2) for rank in range(ranks)]
        shares = [take(source, 25) for source in sources]
        assert sum(source.statistics.skipped for source in sources) == 2
        changed = 0
        for number, batch in enumerate(whole):
            now = torch.cat([share[number] for share in shares])
            rows = (now != batch).flatten(1).any(1).nonzero().flatten().tolist()
            changed += len(rows)
            for row in rows:
                lane = row // (BATCH // LANES)
                mates = batch[lane * (BATCH // LANES) : (lane + 1) * (BATCH // LANES)]
                assert any(torch.equal(now[row], mate) for mate in mates)
        assert changed == 2
    with pytest.raises(DataError, match=r"train-00007\.tar: sample .* after 1 samples that were skipped"):
        take(stream(str(tmp_path), max_skipped=1), 25)


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_the_number_of_threads_changes_nothing(digits_url: str, threads: int) -> None:
    for one, many in zip(take(stream(digits_url), 30), take(stream(digits_url, decode_threads=threads), 30), strict=True):
        assert torch.equal(one, many)


def test_a_budget_smaller_than_a_window_is_slow_but_not_stuck(digits_url: str) -> None:
    tight = stream(digits_url, prefetch_bytes=1)
    for one, other in zip(take(stream(digits_url), 30), take(tight, 30), strict=True):
        assert torch.equal(one, other)


def test_what_is_held_stays_within_the_budget(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.datasets.stream.read.LARGEST_READ", 1)  # one window a read
    sample, window, budget = 2700, 5, 400_000
    with stream(str(digits_folder), window=window, prefetch_bytes=2 * budget) as source:
        for _ in range(60):
            next(source)
        peak = source._fetcher.peak
    assert (LANES + 1) * window * sample < 0.8 * budget <= peak <= budget


def test_unshuffled_lanes_run_through_their_shards(digits_folder: Path) -> None:
    with stream(str(digits_folder), window=1) as source:
        order = source.order
        batch = next(source)
    packed = [b["image"] for b in read_split(str(digits_folder), "train", SHARD)]
    for lane in range(LANES):
        rows = slice(lane * order.per_lane, (lane + 1) * order.per_lane)
        (stretch,) = order.stretches(0, lane, 0, order.per_lane)
        assert torch.equal(batch["image"][rows], packed[stretch.shard][stretch.first : stretch.last])


def test_closing_ends_the_threads(digits_url: str) -> None:
    before = set(threading.enumerate())
    source = stream(digits_url)
    next(source)
    started = set(threading.enumerate()) - before
    assert {thread.name.rstrip("_0123456789") for thread in started} >= {"assemble-batches", "decode", "read-shards"}
    source.close()
    for thread in started:
        thread.join(30)  # a read that has begun ends first
    assert not [thread.name for thread in started if thread.is_alive()]


def test_every_further_batch_raises_the_error_again(tmp_path: Path) -> None:
    pack_digits(open_store(str(tmp_path)))
    for path in tmp_path.glob("train-*.tar"):
        path.unlink()
    with stream(str(tmp_path)) as source:
        for _ in range(3):
            with pytest.raises(DataError, match="no such file"):
                next(source)


def test_a_batch_that_is_never_filled_says_what_to_change(digits_url: str) -> None:
    with pytest.raises(DataError, match=r"1,600 samples do not fill one batch of 2048: use a smaller data\.batch"):
        SampleStream(digits_url, "train", batch=2048, lanes=64, window=10, seed=0)


@pytest.fixture(scope="module", params=[(1, 1000, 3, 50), (400,)], ids=["unequal tars", "one tar"])
def tars_as_found(request: pytest.FixtureRequest, digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digits in shards of given lengths."""
    digits = open_store(str(digits_folder))
    index = read_index(digits)
    samples = (sample for s in index.shards("train") for sample in read_samples(digits, s, len(index.fields), 0, s.count))
    store = open_store(str(tmp_path_factory.mktemp("tars")), create=True)
    shards = []
    for number, count in enumerate(request.param):
        members = [{**sample, "__key__": sample["__key__"].decode()} for sample in islice(samples, count)]
        shards.append(write_shard(store, f"train-{number}.tar", index.fields, members))
    write_index(store, dataclasses.replace(index, splits={"train": tuple(shards)}))
    return store.url


def test_tars_of_any_length_give_each_image_once(tars_as_found: str) -> None:
    packed = torch.cat([batch["image"] for batch in read_split(tars_as_found, "train", 100)])
    with stream(tars_as_found, batch=32, lanes=16) as source:
        batches = source.order.batches
        images = torch.cat([next(source)["image"] for _ in range(batches)])
        assert source.position == Position(1, 0)
    assert len(packed) - len(images) < 32
    remaining = Counter(bytes(image.numpy()) for image in packed)
    remaining.subtract(bytes(image.numpy()) for image in images)
    assert min(remaining.values()) == 0


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_tars_of_any_length_give_ranks_together_what_one_sees(tars_as_found: str, ranks: int) -> None:
    count = 40  # more than an epoch of both sets
    alone = take(stream(tars_as_found, batch=32, lanes=16), count)
    shares = [take(stream(tars_as_found, rank, ranks, batch=32, lanes=16), count) for rank in range(ranks)]
    for number, batch in enumerate(alone):
        assert torch.equal(batch, torch.cat([share[number] for share in shares]))


def test_tars_of_any_length_go_on_at_every_batch(tars_as_found: str) -> None:
    uninterrupted = take(stream(tars_as_found, batch=32, lanes=16), 36)
    with stream(tars_as_found, batch=32, lanes=16) as source:
        for batch in uninterrupted[:35]:
            (again,) = take(stream(tars_as_found, batch=32, lanes=16, position=source.position), 1)
            assert torch.equal(again, batch)
            next(source)


def test_lanes_that_share_a_shard_read_its_table_once(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(digits_folder))
    index = read_index(store)
    asked: list[str] = []

    def slow(store: Store, shard: Shard, fields: int) -> Table:
        asked.append(shard.name)
        time.sleep(0.2)
        return read_table(store, shard, fields)

    monkeypatch.setattr("unbraid.datasets.stream.read.read_table", slow)
    reader = ShardReader(store, index.shards("train"), len(index.fields))
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(reader.table, [0] * 8))
    assert len(asked) == 1
    assert all(table is tables[0] for table in tables)


def test_a_table_that_could_not_be_read_is_asked_for_again(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(digits_folder))
    index = read_index(store)
    reader = ShardReader(store, index.shards("train"), len(index.fields))
    with monkeypatch.context() as broken:
        broken.setattr(store, "get", lambda *_: b"")
        with pytest.raises(DataError, match="is not the table that belongs to"):
            reader.table(0)
    assert len(reader.table(0).offsets) == SHARD
