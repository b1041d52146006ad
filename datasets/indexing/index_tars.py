"""Makes an index and tables for tars that exist: in parallel, resumable, without copying or changing a tar."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.indexing.findings import Report, describe_findings, left_out_of, number_field, shaped_field
from unbraid.datasets.indexing.one_tar import IndexedTar, index_tar
from unbraid.datasets.indexing.tars import Tar, Tars
from unbraid.datasets.indexing.wanted import Wanted, guess_fields, unused_members
from unbraid.datasets.packing.pack import REPORT_SECONDS
from unbraid.datasets.packing.place import Place
from unbraid.datasets.packing.workers import lost_workers_explained, worker_processes
from unbraid.datasets.shards.index import INDEX_KEY, Field, Index, PackedFrom, read_index, write_index
from unbraid.datasets.shards.walk import TarError, TarSample, walk
from unbraid.datasets.store import FolderStore, Store, discard, open_store

FOLDER = "indexing"
"""Prefix of the records; they are removed when the index is written."""
SMALL_BYTES = 256 << 20
"""Bytes of all tars together that are not worth the start of processes."""
PROBED_SAMPLES = 50
PROBED_BYTES = 64 << 20


@dataclass(frozen=True)
class IndexOptions:
    """How tars are indexed.

    Attributes:
        name: of the set.
        any_size: whether images may differ in size, for training with ``data.fit``.
        decode: whether every image is decoded, not its header alone.
        max_skipped: number of unreadable samples that are not yet an error.
        threads: tars that are read at a time; None: as many as there are cores.
        force: replace an index of other tars, or other fields.
    """

    name: str
    any_size: bool = False
    decode: bool = False
    max_skipped: int = 0
    threads: int | None = None
    force: bool = False


def probe(tars: Tars) -> list[TarSample]:
    """Read the first samples of the first tar.

    Raises:
        DataError: when it has none, or is no tar.
    """
    tar = tars.tars[0]
    where = f"{tars.store.url}/{tar.name}"

    def blocks() -> Iterator[memoryview]:
        for start in range(0, min(tar.bytes, PROBED_BYTES), 1 << 20):
            yield tars.store.get_range(tar.name, start, min(1 << 20, tar.bytes - start))

    try:
        samples = list(islice(walk(blocks()), PROBED_SAMPLES))
    except TarError as error:
        raise DataError(f"{where}: {error}") from None
    if not samples:
        raise DataError(f"{where}: has no samples: no member has a name with an extension")
    return samples


def index_tars(
    tars: Tars, wanted: Sequence[Wanted] | None, destination: Store, options: IndexOptions, report: Report, progress: Report
) -> Index:
    """Index tars, and write tables and the index at ``destination``.

    Args:
        wanted: fields; None takes what the extensions of the first samples tell.
        report: called with lines.
        progress: called with lines that replace each other.

    Raises:
        DataError: naming tar and sample; tars that were finished are kept, and the next call continues after them.
    """
    samples = probe(tars)
    fields = list(wanted) if wanted is not None else guess_fields(samples, f"{tars.store.url}/{tars.tars[0].name}")
    _describe(tars, fields, report)
    for line in unused_members(samples, fields):
        report(f"  not used {line}")
    origin = _origin(tars, fields, options)
    place = Place(destination, FOLDER)
    with place.claimed():
        if not options.force:
            index = place.packed(origin)
            if index is not None:
                report(f"the same tars are indexed at {destination.url} already")
                return index
        _require_foreign(destination)
        place.require_unread()
        records = _index_all(tars, fields, place, options, progress)
        index = _combined(tars, fields, records, options, destination, origin)
        old = _old_tables(destination)
        discard(destination, [INDEX_KEY] if destination.exists(INDEX_KEY) else [])
        _require_tables(destination, records)
        write_index(destination, index)
        discard(destination, sorted(old - {record.shard.table_key for record in records}))
        place.tidy()
    describe_findings(index, records, report)
    return index


def _describe(tars: Tars, fields: Sequence[Wanted], report: Report) -> None:
    counts = Counter(tar.split for tar in tars.tars)
    size = sum(tar.bytes for tar in tars.tars)
    report(f"{len(tars.tars):,} tars below {tars.store.url}, {size / 1e9:,.2f} GB")
    report(f"  fields   {', '.join(map(str, fields))}")
    report(f"  splits   {', '.join(f'{split}: {count:,} tars' for split, count in sorted(counts.items()))}")
    if len(counts) == 1 and "test" not in counts:
        report(
            "  splits   none for measuring: name one with --split test=GLOB, or train with "
            "data.validation_split=train data.test_split=null"
        )


def _origin(tars: Tars, fields: Sequence[Wanted], options: IndexOptions) -> PackedFrom:
    listed = [(tar.name, tar.bytes, tar.split) for tar in tars.tars]
    content = json.dumps([tars.store.url, listed, list(map(str, fields)), options.any_size, options.decode, options.name])
    written = {"fields": ",".join(map(str, fields)), "any_size": str(options.any_size), "decode": str(options.decode)}
    return PackedFrom(tars.store.url, written, hashlib.sha256(content.encode()).hexdigest())


def _require_foreign(destination: Store) -> None:
    if destination.exists(INDEX_KEY) and read_index(destination).owns_tars:
        raise DataError(f"{destination.url}: has a set that `unbraid data pack` wrote, with its index; index to another place")


def _old_tables(destination: Store) -> set[str]:
    if not destination.exists(INDEX_KEY):
        return set()
    return {shard.table_key for shards in read_index(destination).splits.values() for shard in shards}


def _require_tables(destination: Store, records: Sequence[IndexedTar]) -> None:
    found = destination.sizes()
    missing = next((record.shard.table_key for record in records if not found.get(record.shard.table_key)), None)
    if missing is not None:
        raise DataError(f"{destination.url}/{missing}: was written, and is not there; repeat the command")


def _index_all(tars: Tars, fields: Sequence[Wanted], place: Place, options: IndexOptions, progress: Report) -> list[IndexedTar]:
    """Index all tars that are not indexed already, several at a time: in processes, unless they are small."""
    count = min(options.threads or os.cpu_count() or 1, len(tars.tars))
    meter = _Meter(tars, progress)
    records: list[IndexedTar] = []
    is_small = sum(tar.bytes for tar in tars.tars) < SMALL_BYTES
    workers: Executor = ThreadPoolExecutor(count, thread_name_prefix="index-tar") if is_small else worker_processes(count)
    work = partial(_index_one, tars.store.url, place.store.url, tuple(fields), options.decode, options.max_skipped)
    try:
        with lost_workers_explained():
            for tar, future in [(tar, workers.submit(work, tar)) for tar in tars.tars]:
                records.append(future.result())
                meter.indexed(tar, records[-1].shard.count)
                skipped = [reason for record in records for reason in record.unreadable]
                if len(skipped) > options.max_skipped:
                    raise DataError(f"{skipped[-1]}; repair the tar, or leave such samples out with --max-skipped")
    finally:
        workers.shutdown(wait=True, cancel_futures=True)
    return records


_store_of_worker = lru_cache(maxsize=4)(open_store)


def _index_one(
    tars_url: str, destination_url: str, fields: tuple[Wanted, ...], decode: bool, max_skipped: int, tar: Tar
) -> IndexedTar:
    """Index a tar, unless a record says that it was; write its table and its record."""
    place = Place(_store_of_worker(destination_url), FOLDER)
    content = json.dumps([tars_url, tar.name, tar.bytes, list(map(str, fields)), decode])
    items = hashlib.sha256(content.encode()).hexdigest()
    record = place.finished(tar.name, items, IndexedTar)
    if record is not None and place.store.exists(record.shard.table_key):
        return record
    with ThreadPoolExecutor(1, thread_name_prefix="read-tar") as reads:
        record, table = index_tar(
            _store_of_worker(tars_url), tar, fields, items, decode=decode, max_skipped=max_skipped, reads=reads
        )
    place.store.put(record.shard.table_key, table)
    place.keep(record)
    return record


def _combined(
    tars: Tars,
    wanted: Sequence[Wanted],
    records: Sequence[IndexedTar],
    options: IndexOptions,
    destination: Store,
    origin: PackedFrom,
) -> Index:
    """Put the records of all tars together.

    Raises:
        DataError: when no sample has all fields, or values of a field have different shapes.
    """
    left_out = left_out_of(records)
    if not any(record.shard.count for record in records):
        raise DataError(f"{tars.store.url}: no sample has all fields:" + "".join(f"\n  {line}" for line in left_out))
    fields: dict[str, Field] = {}
    classes: tuple[str, ...] = ()
    for want in wanted:
        if want.kind == "integer":
            fields[want.name], names = number_field(want, records)
            classes = names if want.name == "label" else classes
        else:
            fields[want.name] = shaped_field(want, records, options.any_size, tars.store.url)
    splits: dict[str, list[IndexedTar]] = {}
    for tar, record in zip(tars.tars, records, strict=True):
        if record.shard.count:
            splits.setdefault(tar.split, []).append(record)
    skipped = sum(len(record.unreadable) for record in records)
    elsewhere = tars.store.url != destination.url
    where = str(Path(tars.store.url).resolve()) if isinstance(tars.store, FolderStore) else tars.store.url
    return Index(
        name=options.name,
        fields=fields,
        classes=classes,
        licence="unknown",
        source=tars.store.url,
        splits={split: tuple(record.shard for record in of_split) for split, of_split in splits.items()},
        left_out=dict(left_out.counts) | ({"unreadable samples": skipped} if skipped else {}),
        packed_from=origin,
        tars=where if elsewhere else "",
        owns_tars=False,
    )


class _Meter:
    """Reports progress in bytes, with rates and time left."""

    def __init__(self, tars: Tars, progress: Report) -> None:
        self.total = sum(tar.bytes for tar in tars.tars)
        self.progress = progress
        self.bytes = 0
        self.samples = 0
        self.started = self.reported = time.monotonic()

    def indexed(self, tar: Tar, samples: int) -> None:
        """Count a tar; report once a second, and at the end."""
        self.bytes += tar.bytes
        self.samples += samples
        if self.bytes < self.total and time.monotonic() - self.reported < REPORT_SECONDS:
            return
        self.reported = time.monotonic()
        seconds = max(time.monotonic() - self.started, 1e-6)
        left = int((self.total - self.bytes) * seconds / max(self.bytes, 1))
        self.progress(
            f"indexed {self.bytes / 1e9:,.2f} of {self.total / 1e9:,.2f} GB  {self.samples:,} samples  "
            f"{self.samples / seconds:,.0f}/s  {self.bytes / seconds / 1e9:,.2f} GB/s  left {left // 60:02d}:{left % 60:02d}"
        )
