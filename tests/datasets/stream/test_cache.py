"""The shard cache: hits, limit, damage, several workers, a disk that fails."""

import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.conftest import pack_digits
from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.cache import ShardCache, open_cache
from unbraid.datasets.stream.read import ShardReader
from unbraid.datasets.stream.stream import SampleStream


def epoch(url: str, cache: ShardCache | None, rank: int = 0, world_size: int = 1) -> torch.Tensor:
    options = {"batch": 64, "lanes": 8, "window": 50, "seed": 0, "rank": rank, "world_size": world_size}
    with SampleStream(url, "train", cache=cache, **options) as source:  # type: ignore[arg-type]
        return torch.cat([next(source)["image"] for _ in range(source.order.batches)])


def blocks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.block"))


def test_a_second_epoch_reads_no_shard_again(digits_url: str, tmp_path: Path) -> None:
    whole = epoch(digits_url, None)
    cache = ShardCache(tmp_path, 1 << 30)
    assert torch.equal(epoch(digits_url, cache), whole)
    misses = cache.statistics.misses
    assert misses >= 32
    assert torch.equal(epoch(digits_url, ShardCache(tmp_path, 1 << 30)), whole)
    again = ShardCache(tmp_path, 1 << 30)
    epoch(digits_url, again)
    assert again.statistics.misses == 0
    assert again.statistics.hits > 0


def test_the_folder_stays_within_its_limit_and_the_oldest_go_first(
    digits_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.datasets.stream.cache.BLOCK_BYTES", 16 << 10)
    store = open_store(digits_url)
    shards = read_index(store).shards("train")
    limit = shards[0].bytes * 3
    cache = ShardCache(tmp_path, limit)
    written: list[set[str]] = []
    for number, shard in enumerate(shards):
        before = set(blocks(tmp_path))
        cache.get_range(store, shard, 0, shard.bytes)
        for block in set(blocks(tmp_path)) - before:
            os.utime(block, (number, number))
        written.append({block.name.split("-")[0] for block in set(blocks(tmp_path)) - before})
    size = sum(block.stat().st_size for block in blocks(tmp_path))
    assert size <= limit + limit // 20 + (16 << 10)
    kept = {block.name.split("-")[0] for block in blocks(tmp_path)}
    assert written[-1] <= kept
    assert not written[0] & kept


def test_a_block_damaged_on_the_disk_is_fetched_again(digits_url: str, tmp_path: Path) -> None:
    whole = epoch(digits_url, None)
    epoch(digits_url, ShardCache(tmp_path, 1 << 30))
    content = bytearray(blocks(tmp_path)[3].read_bytes())
    content[5000] ^= 0xFF
    blocks(tmp_path)[3].write_bytes(content)
    blocks(tmp_path)[5].write_bytes(b"cut off")
    assert torch.equal(epoch(digits_url, ShardCache(tmp_path, 1 << 30)), whole)


def test_workers_share_one_folder(digits_url: str, tmp_path: Path) -> None:
    whole = epoch(digits_url, None)
    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(lambda rank: epoch(digits_url, ShardCache(tmp_path, 1 << 30), rank, 4), range(4)))
    parts = [share.split(16) for share in shares]
    assert torch.equal(torch.cat([torch.cat(batch) for batch in zip(*parts, strict=True)]), whole)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_turns_the_cache_off_with_one_warning(
    digits_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = epoch(digits_url, None)

    def full(*_: object, **__: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("unbraid.datasets.stream.cache.tempfile.mkstemp", full)
    cache = ShardCache(tmp_path, 1 << 30)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(epoch(digits_url, cache), whole)
    assert cache.statistics.disabled
    assert len([r for r in caplog.records if "No space left on device; shards are streamed without it" in r.getMessage()]) == 1


def test_a_folder_that_cannot_be_made_turns_the_cache_off(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ShardCache(tmp_path / "file/cache", 1 << 30)
    assert cache.statistics.disabled
    store = open_store(str(tmp_path / "set"), create=True)
    index = pack_digits(store)
    assert len(ShardReader(store, index.shards("train"), len(index.fields), cache).table(0).offsets) == 50


def test_a_limit_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    assert open_cache(None, 1) is None
    with pytest.raises(DataError, match=r"data\.cache_gb=1e\+09: the disk of .* holds only"):
        open_cache(str(tmp_path / "cache"), 1e9)
