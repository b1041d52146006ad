"""Packs raw samples as shards of equal size: in parallel, with the same bytes every time, and resumable."""

import hashlib
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

import numpy as np

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field, Index, Shard, write_index
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.sources.source import Item, Source, UnusableSampleError
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.untrusted.documents import Sha256, Text, parse_json

SHARD_BYTES = 32 << 20
FEWEST_SHARDS = 80
"""Default number of shards of a small set: an epoch shuffles whole shards, so that many of them mix better than few."""
PROBES = 16
"""Samples that are loaded to estimate the mean size."""
MARKERS = "packing"
"""Prefix of the records of finished shards; they are removed when the index is written."""
SHUFFLE_SEED = 0

Report = Callable[[str], None]


@dataclass(frozen=True)
class ShardPlan:
    """One shard to write."""

    name: str
    items: Sequence[Item]

    @property
    def digest(self) -> str:
        """Hex digest of the keys and fingerprints of the items, which decide the bytes of the shard."""
        content = json.dumps([(item.key, item.fingerprint) for item in self.items])
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class _Finished:
    """The record of a finished shard: the digest of its plan, the shard, the reasons for skipped samples."""

    items: Sha256
    shard: Shard
    skipped: list[Text]


def plan_shards(source: Source, shards: int | None = None) -> dict[str, list[ShardPlan]]:
    """Assign the items of each split to shards whose sample counts differ by one at most.

    Args:
        shards: number in the largest split; other splits get as many in proportion. Default: shards of about 32 MiB, but
            80 at least where there are that many samples.

    Raises:
        DataError: when there is nothing to pack, there are fewer samples than shards, or two samples have one key.
    """
    if not any(source.splits.values()):
        reasons = "".join(f"\n  {reason}" for reason in list(source.left_out)[:5])
        raise DataError(f"{source.name}: no samples to pack{reasons}")
    for split, items in source.splits.items():
        key, times = Counter(item.key for item in items).most_common(1)[0] if items else ("", 1)
        if times > 1:
            raise DataError(f"{source.name}: {times} samples of {split} have the key {key!r}: rename their files")
    largest = max(len(items) for items in source.splits.values())
    if shards is not None and shards > largest:
        raise DataError(f"{source.name}: {shards} shards for {largest} samples: ask for at most as many shards as samples")
    per_shard = largest / shards if shards is not None else _samples_a_shard(source, largest)
    plans: dict[str, list[ShardPlan]] = {}
    for split, items in source.splits.items():
        if not items:
            continue
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(items)) if source.shuffle else np.arange(len(items))
        parts = np.array_split(order, max(1, round(len(items) / per_shard)))
        plans[split] = [
            ShardPlan(f"{split}-{number:06d}.tar", [items[i] for i in part.tolist()]) for number, part in enumerate(parts)
        ]
    return plans


def pack(
    source: Source,
    store: Store,
    report: Report,
    *,
    shards: int | None = None,
    threads: int | None = None,
    max_skipped: int = 0,
) -> Index:
    """Write all shards, then the index; a shard that exists already, from the same items, is not written again.

    Args:
        shards: see :func:`plan_shards`.
        threads: number of shards written at a time; by processes if the source is computed. Default: the number of cores.
        max_skipped: number of unusable samples that are not yet an error.

    Raises:
        DataError: naming what cannot be packed; finished shards are kept, and the next call continues after them.
    """
    plans = plan_shards(source, shards)
    meter = _Meter(plans, report)
    skipped: list[str] = []
    count = threads or os.cpu_count() or 1
    workers: Executor
    if source.is_computed:
        workers = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
        work = partial(_pack_in_process, source.fields, store.url, max_skipped)
    else:
        workers = ThreadPoolExecutor(count, thread_name_prefix="pack")
        work = partial(_pack_shard, source.fields, store, max_skipped)
    try:
        futures = {split: [(plan, workers.submit(work, plan)) for plan in of_split] for split, of_split in plans.items()}
        splits: dict[str, tuple[Shard, ...]] = {}
        for split, of_split in futures.items():
            written = []
            for plan, future in of_split:
                shard, reasons = future.result()
                written.append(shard)
                skipped += reasons
                _require_few(skipped, max_skipped)
                meter.packed(len(plan.items))
            splits[split] = tuple(shard for shard in written if shard.count)
    finally:
        workers.shutdown(wait=True, cancel_futures=True)
    index = Index(
        name=source.name,
        fields=source.fields,
        classes=source.classes,
        licence=source.licence,
        source=source.origin,
        splits=splits,
        attributes=source.attributes,
        recipe=source.recipe,
    )
    write_index(store, index)
    for key in store.keys(f"{MARKERS}/"):
        store.delete(key)
    for reason in skipped:
        report(f"skipped: {reason}\n")
    return index


def describe_plan(source: Source, plans: dict[str, list[ShardPlan]], report: Report) -> None:
    """Report what :func:`pack` would write."""
    report(f"{source.name}: {', '.join(f'{name} ({f.kind}, {f.shape})' for name, f in source.fields.items())}")
    size = _mean_bytes(source)
    for split, of_split in plans.items():
        counts = [len(plan.items) for plan in of_split]
        each = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} or {max(counts):,}"
        total = sum(counts)
        report(
            f"  {split:8} {total:,} samples in {len(counts)} shards of {each}, about {total * size / 1e6:,.1f} MB "
            f"({of_split[0].name} … {of_split[-1].name})"
        )
    if source.left_out:
        report(f"  left out {len(source.left_out):,}: " + "; ".join(list(source.left_out)[:3]))


_store_of_process = lru_cache(maxsize=1)(open_store)


def _pack_in_process(fields: Mapping[str, Field], url: str, max_skipped: int, plan: ShardPlan) -> tuple[Shard, list[str]]:
    return _pack_shard(fields, _store_of_process(url), max_skipped, plan)


def _pack_shard(fields: Mapping[str, Field], store: Store, max_skipped: int, plan: ShardPlan) -> tuple[Shard, list[str]]:
    """Write one shard, unless it is finished; return it and the reasons for skipped samples."""
    marker = f"{MARKERS}/{plan.name}.json"
    if store.exists(marker):
        found = parse_json(store.get(marker), _Finished, f"{store.url}/{marker}")
        if found.items == plan.digest:
            return found.shard, found.skipped
    samples = []
    skipped: list[str] = []
    for item in plan.items:
        try:
            samples.append({"__key__": item.key, **item.load()})
        except UnusableSampleError as error:
            skipped.append(str(error))
            _require_few(skipped, max_skipped)
    shard = write_shard(store, plan.name, fields, samples)
    store.put(marker, json.dumps(asdict(_Finished(plan.digest, shard, skipped))).encode())
    return shard, skipped


def _require_few(skipped: Sequence[str], most: int) -> None:
    if len(skipped) > most:
        more = f" (after {most} others that were skipped)" if most else ""
        raise DataError(f"{skipped[-1]}{more}; repair or remove it, or allow for some with --max-skipped")


def _samples_a_shard(source: Source, largest: int) -> float:
    return min(max(1.0, SHARD_BYTES / _mean_bytes(source)), max(1.0, largest / FEWEST_SHARDS))


def _mean_bytes(source: Source) -> float:
    """Estimate the bytes of a sample in a tar, from some that are spread over the largest split."""
    items = max(source.splits.values(), key=len)
    sizes = []
    for item in items[:: max(1, len(items) // PROBES)]:
        try:
            members = item.load()
        except UnusableSampleError:
            continue  # reported when it is packed
        sizes.append(sum(512 + -(-len(content) // 512) * 512 for content in members.values()))
    return float(np.mean(sizes)) if sizes else 1.0


class _Meter:
    """Reports progress in samples, with rate and time left."""

    def __init__(self, plans: dict[str, list[ShardPlan]], report: Report) -> None:
        self.total = sum(len(plan.items) for of_split in plans.values() for plan in of_split)
        self.report = report
        self.done = 0
        self.started = time.monotonic()

    def packed(self, samples: int) -> None:
        """Count packed samples, and report."""
        self.done += samples
        rate = self.done / max(time.monotonic() - self.started, 1e-6)
        left = int((self.total - self.done) / rate)
        filled = 20 * self.done // self.total
        bar = "#" * filled + "." * (20 - filled)
        self.report(
            f"[{bar}] packed {self.done:,} of {self.total:,} samples  {rate:,.0f}/s  left {left // 60:02d}:{left % 60:02d}"
        )
