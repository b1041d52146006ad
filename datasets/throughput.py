"""How fast a set can be read here, what limits it, and how near the stream comes."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from datasets.decoding import BatchDecoder
from datasets.errors import DataError
from datasets.index import read_index
from datasets.order import Stretch
from datasets.reading import LARGEST_READ, ShardReader
from datasets.store import open_store
from datasets.stream import DECODE_TOGETHER, READ_THREADS, SampleStream, straight

Report = Callable[[str], None]


def measure(
    url: str, split: str, *, workers: int, batch: int, lanes: int, window: int, seconds: float, report: Report
) -> dict[str, float]:
    """Report images/s of the whole stream, of reading alone and of decoding alone, for ``workers`` in one process.

    Returns:
        ``stream``, ``read`` and ``decode`` in images/s.

    Raises:
        DataError: when the set cannot be read, or its shards do not fit the numbers.
    """
    index = read_index(open_store(url))
    shards = index.shards(split)
    size = sum(s.bytes for s in shards) / sum(s.count for s in shards)
    report(f"{index.name}, {split}: {sum(s.count for s in shards):,} samples of {size:,.0f} bytes in {len(shards)} shards")
    rates = {"read": read_alone(url, split, seconds), "decode": decode_alone(url, split, seconds)}
    streams = [
        SampleStream(url, split, batch=batch, lanes=lanes, window=window, seed=0, rank=rank, world_size=workers)
        for rank in range(workers)
    ]
    try:
        with ThreadPoolExecutor(workers) as pool:
            rates["stream"] = sum(pool.map(lambda stream: _images_per_second(stream, seconds), streams))
    finally:
        for stream in streams:
            stream.close()
    for name, words in (("read", "reading alone"), ("decode", "decoding alone"), ("stream", "the stream")):
        report(f"  {words:15} {rates[name]:10,.0f} images/s  {rates[name] * size / 1e6:8,.1f} MB/s")
    slower = min(("read", "decode"), key=lambda name: rates[name])
    retries = sum(sum(stream.store.statistics.retries.values()) for stream in streams)
    report(
        f"  {'reading' if slower == 'read' else 'decoding'} binds: the stream reaches "
        f"{100 * rates['stream'] / rates[slower]:.0f} % of it; {retries} retries"
    )
    return rates


def read_alone(url: str, split: str, seconds: float) -> float:
    """Images/s of ranged GETs alone, as many at a time as a stream has, nothing decoded or checked."""
    store = open_store(url)
    shards = read_index(store).shards(split)
    jobs = itertools.cycle(
        (shard.name, start, min(LARGEST_READ, shard.bytes - start), shard.count / shard.bytes)
        for shard in shards
        for start in range(0, shard.bytes, LARGEST_READ)
    )
    lock = threading.Lock()
    deadline = time.perf_counter() + seconds

    def work(_: int) -> float:
        images = 0.0
        while time.perf_counter() < deadline:
            with lock:
                name, start, length, density = next(jobs)
            store.get_range(name, start, length)
            images += length * density
        return images

    started = time.perf_counter()
    with ThreadPoolExecutor(READ_THREADS) as pool:
        images = sum(pool.map(work, range(READ_THREADS)))
    return images / (time.perf_counter() - started)


def decode_alone(url: str, split: str, seconds: float, threads: int | None = None) -> float:
    """Images/s of decoding alone, of samples that are in memory, on all cores."""
    import os

    store = open_store(url)
    index = read_index(store)
    shards = index.shards(split)
    stretch = Stretch(0, 0, min(shards[0].count, 2048))
    block = ShardReader(store, shards).read((stretch,), straight(stretch))
    try:
        decoder = BatchDecoder(index.fields)
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


def _images_per_second(stream: SampleStream, seconds: float) -> float:
    next(stream)  # the start is not the rate
    before, started = stream.statistics.samples, time.perf_counter()
    while time.perf_counter() < started + seconds:
        next(stream)
    return (stream.statistics.samples - before) / (time.perf_counter() - started)
