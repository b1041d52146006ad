"""Packs raw samples as shards of equal size: in parallel, with the same bytes every time, and resumable."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache, partial

from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.place import Finished, Place
from unbraid.datasets.packing.plan import Plans, Report, ShardPlan, digest_of, plan_shards
from unbraid.datasets.packing.workers import lost_workers_explained, worker_processes
from unbraid.datasets.raw.collection import UnusableSampleError
from unbraid.datasets.shards.codec import require_decodable
from unbraid.datasets.shards.index import Field, Index, PackedFrom, Shard
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.sources.source import Item, Source
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.untrusted.text import in_one_line

REPORT_SECONDS = 1.0
FEW_ITEMS = 100
"""Computed items up to which threads are faster than processes, which take seconds to start."""


def pack(
    source: Source,
    store: Store,
    report: Report,
    *,
    shards: int | None = None,
    options: Mapping[str, str] | None = None,
    threads: int | None = None,
    max_skipped: int = 0,
    force: bool = False,
) -> Index:
    """Write all shards, then the index, unless the same set is there already.

    A shard that was finished by a packing that was stopped is not written again. Every sample is decoded, as the stream
    decodes it, before it is written.

    Args:
        shards: see :func:`unbraid.datasets.packing.plan.plan_shards`.
        options: of the command, for the index.
        threads: number of shards written at a time; by processes if the source is computed and has more than
            ``FEW_ITEMS``. Default: the number of cores.
        max_skipped: number of unusable samples that are not yet an error.
        force: pack over another set, or the same one again.

    Raises:
        DataError: naming what cannot be packed; finished shards are kept, and the next call continues after them.
    """
    plans = plan_shards(source, shards)
    _require_few(source.unusable, max_skipped)
    origin = PackedFrom(source.origin, dict(options or {}), digest_of(plans))
    place = Place(store)
    with place.claimed() as lease:
        if not force:
            index = place.packed(origin)
            if index is not None:
                report(f"the same set is packed at {store.url} already")
                return index
        place.begin({plan.name for of_split in plans.values() for plan in of_split})
        splits, skipped = _write_shards(source, plans, store, report, threads, max_skipped)
        left_out = dict(source.left_out.counts)
        if skipped:
            left_out["unusable samples"] = len(skipped)
        index = Index(
            name=source.name,
            fields=source.fields,
            classes=source.classes,
            licence=source.licence,
            source=source.origin,
            splits=splits,
            attributes=source.attributes,
            recipe=source.recipe,
            left_out=left_out,
            packed_from=origin,
        )
        if lease.superseded_by is not None:  # this process was asleep for so long that another has taken the place over
            raise DataError(f"{store.url}: is being packed by {lease.superseded_by}, which has taken over from this process")
        place.finish(index)
    for reason in skipped:
        report(f"skipped: {reason}")
    return index


def _write_shards(
    source: Source, plans: Plans, store: Store, report: Report, threads: int | None, max_skipped: int
) -> tuple[dict[str, tuple[Shard, ...]], list[str]]:
    """Write the shards of all splits; return them, and the reasons for skipped samples."""
    meter = _Meter(plans, report)
    skipped = list(source.unusable)
    count = threads or os.cpu_count() or 1
    most = max_skipped - len(skipped)
    workers: Executor
    if source.is_computed and meter.total > FEW_ITEMS:
        workers = worker_processes(count)
        work = partial(_pack_in_process, source.fields, store.url, most)
    else:
        workers = ThreadPoolExecutor(count, thread_name_prefix="pack")
        work = partial(_pack_shard, source.fields, store, most)
    splits: dict[str, tuple[Shard, ...]] = {}
    try:
        futures = {split: [(plan, workers.submit(work, plan)) for plan in of_split] for split, of_split in plans.items()}
        for split, of_split in futures.items():
            written = []
            for plan, future in of_split:
                with lost_workers_explained():
                    record = future.result()
                written.append(record.shard)
                skipped += record.skipped
                _require_few(skipped, max_skipped)
                meter.packed(len(plan.items))
            splits[split] = tuple(shard for shard in written if shard.count)
    finally:
        workers.shutdown(wait=True, cancel_futures=True)
    return splits, skipped


_store_of_process = lru_cache(maxsize=1)(open_store)


def _pack_in_process(fields: Mapping[str, Field], url: str, max_skipped: int, plan: ShardPlan) -> Finished:
    return _pack_shard(fields, _store_of_process(url), max_skipped, plan)


def _pack_shard(fields: Mapping[str, Field], store: Store, max_skipped: int, plan: ShardPlan) -> Finished:
    """Write one shard, unless it is finished; return its record."""
    place = Place(store)
    record = place.finished(plan.name, plan.digest, Finished)
    if record is not None:
        return record
    skipped: list[str] = []
    shard = write_shard(store, plan.name, fields, _samples(fields, plan.items, skipped, max_skipped))
    record = Finished(plan.digest, shard, skipped)
    place.keep(record)
    return record


def _samples(
    fields: Mapping[str, Field], items: Sequence[Item], skipped: list[str], max_skipped: int
) -> Iterator[Mapping[str, object]]:
    """Yield the samples of a shard, one in memory at a time; append to ``skipped`` why others cannot be used.

    Raises:
        DataError: when more than ``max_skipped`` cannot.
    """
    for item in items:
        try:
            members = item.load()
            _require_decodable(fields, members, item)
        except UnusableSampleError as error:
            skipped.append(str(error))
            _require_few(skipped, max_skipped)
            continue
        yield {"__key__": item.key, **members}


def _require_decodable(fields: Mapping[str, Field], members: Mapping[str, bytes], item: Item) -> None:
    """Check that the stream will decode a sample, by its own decoders, in the shape that the index will say.

    Raises:
        UnusableSampleError: naming the sample's file and what is wrong.
    """
    for name, field in fields.items():
        content = next((members[extension] for extension in field.members if extension in members), None)
        if content is None:
            continue  # writing the shard says so: it is the source's mistake, not the file's
        try:
            require_decodable(content, field)
        except Exception as error:  # decoders raise many kinds of damaged content
            raise UnusableSampleError(
                f"{item.where or item.key}: its {name} cannot be decoded ({in_one_line(error)})"
            ) from None


def _require_few(skipped: Sequence[str], most: int) -> None:
    if len(skipped) > most:
        more = f" (after {most} others that were skipped)" if most > 0 else ""
        raise DataError(f"{skipped[-1]}{more}; repair or remove it, or allow for some with --max-skipped")


class _Meter:
    """Reports progress in samples, with rate and time left."""

    def __init__(self, plans: Plans, report: Report) -> None:
        self.total = sum(len(plan.items) for of_split in plans.values() for plan in of_split)
        self.report = report
        self.done = 0
        self.started = self.reported = time.monotonic()

    def packed(self, samples: int) -> None:
        """Count packed samples; report once a second, and at the end."""
        self.done += samples
        if self.done < self.total and time.monotonic() - self.reported < REPORT_SECONDS:
            return
        self.reported = time.monotonic()
        rate = self.done / max(time.monotonic() - self.started, 1e-6)
        left = int((self.total - self.done) / rate)
        filled = 20 * self.done // self.total
        bar = "#" * filled + "." * (20 - filled)
        self.report(
            f"[{bar}] packed {self.done:,} of {self.total:,} samples  {rate:,.0f}/s  left {left // 60:02d}:{left % 60:02d}"
        )
