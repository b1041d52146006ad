"""Measures how fast a set can be read on this machine, and compares the stream with its limits."""

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.elsewhere import open_set
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.decode import BatchDecoder
from unbraid.datasets.stream.order import Stretch, in_packed_order
from unbraid.datasets.stream.read import LARGEST_READ, ShardReader
from unbraid.datasets.stream.stream import DECODE_TOGETHER, READ_THREADS, SampleStream

Report = Callable[[str], None]


def measure(
    url: str,
    split: str,
    *,
    workers: int,
    batch: int,
    lanes: int,
    window: int,
    seconds: float,
    report: Report,
    fit: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Measure and report images/s of the stream in ``workers`` processes, of reading alone and of decoding alone.

    Returns:
        ``stream``, ``read`` and ``decode`` in images/s.

    Raises:
        DataError: when the set cannot be read, or its samples do not fill a batch.
    """
    index = read_index(open_store(url))
    shards = index.shards(split)
    size = sum(s.bytes for s in shards) / sum(s.count for s in shards)
    report(f"{index.name}, {split}: {sum(s.count for s in shards):,} samples of {size:,.0f} bytes in {len(shards)} shards")
    rates = {"read": read_alone(url, split, seconds), "decode": decode_alone(url, split, seconds, fit=fit)}
    with SampleStream(url, split, batch=batch, lanes=lanes, window=window, seed=0, world_size=workers, fit=fit) as stream:
        batches = stream.order.batches
    left_out = sum(s.count for s in shards) - batches * batch
    report(f"  an epoch is {batches:,} batches of {batch}; {left_out:,} samples are left out of it, different ones in each")
    settings = {"batch": batch, "lanes": lanes, "window": window, "seed": 0, "world_size": workers, "fit": fit}
    found = _in_processes(workers, url, split, settings, seconds)
    rates["stream"], retries = sum(rate for rate, _ in found), sum(count for _, count in found)
    for name, words in (("read", "reading alone"), ("decode", "decoding alone"), ("stream", "the stream")):
        report(f"  {words:15} {rates[name]:10,.0f} images/s  {rates[name] * size / 1e6:8,.1f} MB/s")
    slower = min(("read", "decode"), key=lambda name: rates[name])
    report(
        f"  {'reading' if slower == 'read' else 'decoding'} is the limit: the stream reaches "
        f"{100 * rates['stream'] / rates[slower]:.0f} % of it; {retries} retries"
    )
    return rates


def read_alone(url: str, split: str, seconds: float) -> float:
    """Measure images/s of ranged GETs alone, as many at a time as a stream makes; nothing is decoded or checked."""
    store, index = open_set(url)
    shards = index.shards(split)
    jobs = itertools.cycle(
        (shard.name, start, min(LARGEST_READ, shard.bytes - start), shard.count / shard.bytes)
        for shard in shards
        for start in range(0, shard.bytes, LARGEST_READ)
    )
    lock = threading.Lock()
    deadline = time.perf_counter() + seconds

    def work(_: int) -> float:
        images = 0.0
        while True:  # at least once, even on a busy machine
            with lock:
                name, start, length, density = next(jobs)
            store.get_range(name, start, length)
            images += length * density
            if time.perf_counter() > deadline:
                return images

    started = time.perf_counter()
    with ThreadPoolExecutor(READ_THREADS) as pool:
        images = sum(pool.map(work, range(READ_THREADS)))
    return images / (time.perf_counter() - started)


def decode_alone(url: str, split: str, seconds: float, threads: int | None = None, fit: tuple[int, int] | None = None) -> float:
    """Measure images/s of decoding alone, of samples that are in memory, on all cores."""
    store, index = open_set(url)
    shards = index.shards(split)
    stretch = Stretch(0, 0, min(shards[0].count, 2048))
    block = ShardReader(store, shards, len(index.fields)).read((stretch,), in_packed_order(stretch))
    try:
        decoder = BatchDecoder(index.fields, fit)
    except ValueError as error:
        raise DataError(f"{url}: {error}") from None
    deadline = time.perf_counter() + seconds

    def work(_: int) -> int:
        arrays = decoder.allocate(DECODE_TOGETHER)
        images = 0
        for first in itertools.cycle(range(0, max(len(block) - DECODE_TOGETHER, 1), DECODE_TOGETHER)):
            last = min(first + DECODE_TOGETHER, len(block))
            decoder.decode(block, first, last, arrays, 0)
            images += last - first
            if time.perf_counter() > deadline:
                break
        return images

    workers = threads or max(2, os.cpu_count() or 2)
    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        images = sum(pool.map(work, range(workers)))
    return images / (time.perf_counter() - started)


def _in_processes(workers: int, url: str, split: str, settings: Mapping[str, Any], seconds: float) -> list[tuple[float, int]]:
    """Measure images/s and retries of each of ``workers`` processes that read at the same time, as training's workers do."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(workers), context.SimpleQueue()
    processes = [
        context.Process(target=_read_as_rank, args=(rank, url, split, settings, seconds, barrier, answers))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise DataError(f"{url}: a reading process ended with status {process.exitcode}; its message is above")
    return [answers.get() for _ in processes]


def _read_as_rank(
    rank: int,
    url: str,
    split: str,
    settings: Mapping[str, Any],
    seconds: float,
    barrier: "threading.Barrier",
    answers: "multiprocessing.SimpleQueue[tuple[float, int]]",
) -> None:
    """Read as one rank for ``seconds``, and put images/s and retries into ``answers``."""
    threads = max(1, (os.cpu_count() or 1) // settings["world_size"])
    with SampleStream(url, split, rank=rank, decode_threads=threads, **settings) as stream:
        next(stream)  # the start-up is not measured
        barrier.wait()
        before, started = stream.statistics.samples, time.perf_counter()
        while True:
            next(stream)
            if time.perf_counter() > started + seconds:
                break
        rate = (stream.statistics.samples - before) / (time.perf_counter() - started)
        answers.put((rate, sum(stream.store.statistics.retries.values())))
