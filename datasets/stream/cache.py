"""Keeps blocks of shards on a node's disk, within a limit, shared by all workers of the node."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Shard
from unbraid.datasets.store import Store

BLOCK_BYTES = 4 << 20
EVICT_TO = 0.9
"""Eviction frees a little more than it must, so that it is rare."""
log = logging.getLogger(__name__)


@dataclass
class CacheStatistics:
    """Counts blocks found and not found; ``disabled`` once the disk has failed."""

    hits: int = 0
    misses: int = 0
    disabled: bool = False


class ShardCache:
    """Keeps blocks of shards in a folder, named by a hash of where their shard is and of what its index says that it holds.

    So no block is ever out of date, and a set that claims another set's hashes reaches none of that set's blocks. Whoever reads
    a block compares each sample in it with the set's table.

    A block is written by renaming a complete file, so any number of processes may share the folder; in a race, a block is
    fetched twice at worst. Above the limit, the least recently used blocks are removed first. A block that another process is
    reading may be removed: its open file stays readable.
    A disk that fails or is full turns the cache off with one warning; training continues from the store.

    Args:
        folder: created when it is missing.
        limit: bytes of all blocks together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.statistics = CacheStatistics()
        self._lock = threading.Lock()
        self._written = 0
        with self._or_off():
            folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            self._evict()

    def get_range(self, store: Store, shard: Shard, start: int, length: int) -> memoryview:
        """Read ``length`` bytes of a shard from ``start``, by blocks: from the folder, else from the store.

        Raises:
            DataError: when the store cannot be read.
        """
        if self.statistics.disabled:
            return store.get_range(shard.name, start, length)
        content = bytearray()
        first, last = start // BLOCK_BYTES, (start + length - 1) // BLOCK_BYTES
        for number in range(first, last + 1):
            block = self._block(store, shard, number)
            begin = number * BLOCK_BYTES
            content += block[max(start - begin, 0) : start + length - begin]
        return memoryview(content)

    def drop(self, store: Store, shard: Shard, start: int, length: int) -> None:
        """Remove the blocks that hold ``length`` bytes from ``start``, because their checksum was wrong."""
        for number in range(start // BLOCK_BYTES, (start + length - 1) // BLOCK_BYTES + 1):
            with suppress(OSError):
                self._path(store, shard, number).unlink()

    def _block(self, store: Store, shard: Shard, number: int) -> memoryview:
        path = self._path(store, shard, number)
        begin = number * BLOCK_BYTES
        size = min(BLOCK_BYTES, shard.bytes - begin)
        with suppress(OSError):
            content = path.read_bytes()
            if len(content) == size:
                os.utime(path)  # the time of last use decides what is evicted
                with self._lock:
                    self.statistics.hits += 1
                return memoryview(content)
        with self._lock:
            self.statistics.misses += 1
        fetched = store.get_range(shard.name, begin, size)
        self._keep(path, fetched)
        return fetched

    def _keep(self, path: Path, content: memoryview) -> None:
        if self.statistics.disabled:
            return
        with self._or_off():
            path.parent.mkdir(exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".partial")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            with self._lock:
                self._written += len(content)
                due = self._written > max(self.limit // 20, BLOCK_BYTES)
                if due:
                    self._written = 0
            if due:
                self._evict()

    def _evict(self) -> None:
        """Remove the least recently used blocks until the folder is within its limit; only one process does so at a time."""
        with (self.folder / ".evicting").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is evicting
            blocks = sorted((stat.st_mtime, stat.st_size, path) for path, stat in self._blocks())
            total = sum(size for _, size, _ in blocks)
            if total <= self.limit:
                return
            for _, size, path in blocks:
                path.unlink(missing_ok=True)
                total -= size
                if total <= EVICT_TO * self.limit:
                    return

    def _blocks(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob("*/*.block"):
            with suppress(FileNotFoundError):
                yield path, path.stat()

    def _remove_leftovers(self) -> None:
        """Remove the partial files of processes that were killed; those of living ones are younger than an hour."""
        for path in self.folder.glob("*/*.partial"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > 3600:
                    path.unlink()

    def _path(self, store: Store, shard: Shard, number: int) -> Path:
        name = hashlib.sha256(json.dumps([store.url, shard.name, shard.bytes, shard.sha256]).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}-{number:06d}.block"

    @contextmanager
    def _or_off(self) -> Iterator[None]:
        """Turn the cache off when the disk fails."""
        try:
            yield
        except OSError as error:
            with self._lock:
                before, self.statistics.disabled = self.statistics.disabled, True
            if not before:
                log.warning("the shard cache in %s is off: %s; shards are streamed without it", self.folder, error)


def open_cache(folder: str | None, limit_gb: float) -> ShardCache | None:
    """Open the cache that a configuration asks for; None without a folder.

    Raises:
        DataError: when the limit is larger than the disk.
    """
    if folder is None:
        return None
    path = Path(folder).expanduser()
    limit = int(limit_gb * 1e9)
    existing = next(parent for parent in [path.absolute(), *path.absolute().parents] if parent.exists())
    if limit > shutil.disk_usage(existing).total:
        raise DataError(
            f"data.cache_gb={limit_gb:g}: the disk of {path} holds only {shutil.disk_usage(existing).total / 1e9:.1f} GB"
        )
    return ShardCache(path, limit)
