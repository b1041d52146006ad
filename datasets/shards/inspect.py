"""Describes a packed set in words, checks that it is undamaged, and counts its classes."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.codec import LONGEST_INTEGER, image_shape, number_reader
from unbraid.datasets.shards.elsewhere import open_set
from unbraid.datasets.shards.index import Field, Index, Shard
from unbraid.datasets.shards.selection import Look, Surroundings, class_field, look_around
from unbraid.datasets.shards.sheet import draw_sheet, sheet_file
from unbraid.datasets.shards.table import ABSENT, Table, read_table
from unbraid.datasets.store import Store

Report = Callable[[str], None]

AT_A_TIME = 4
"""Shards that are checked at a time."""
PIECE = 8 << 20
"""Bytes that are read at a time of each."""
MOST_CLASSES = 100_000
"""Different classes that are counted; a stranger's labels may be any numbers."""
CLASSES_SHOWN = 20
"""Classes whose counts are printed; of more, the fewest and the most."""
REASONS_SHOWN = 5
NAMES_SHOWN = 20
"""Names of classes and attributes that are printed; the others are counted."""


@dataclass
class _Checked:
    """What checking one shard has found.

    Attributes:
        problem: what is wrong with it, or None.
        classes: samples of each class; None counts those whose class cannot be read.
    """

    problem: str | None = None
    classes: Counter[int | None] = field(default_factory=Counter)


def inspect_set(url: str, sheet: Path | None, check: bool, report: Report) -> int:
    """Report what a set holds; check every shard and draw a contact sheet if asked to.

    Args:
        sheet: PNG file for the contact sheet; None draws none.
        check: whether to read every shard, compare its checksum, and count its classes.
        report: called with each line.

    Returns:
        The number of damaged shards, each reported.

    Raises:
        DataError: when there is no set, or the sheet cannot be written.
    """
    with ExitStack() as stack:
        file = None if sheet is None else stack.enter_context(sheet_file(sheet))
        store, index = open_set(url)
        wanted = file is not None or any(f.has_several_sizes for f in index.fields.values())
        looked = look_around(store, index) if wanted else Surroundings([], [])
        _describe(store, index, looked.looks, report)
        _report_some("could not be looked at", looked.problems, report)
        broken = _check(store, index, report) if check else 0
        if not check:
            report("  check    left out, and so are the counts of classes (--no-check)")
        if file is not None:
            drawn = draw_sheet(index, looked.looks, file)
    if sheet is not None:
        report(f"  sheet    {sheet}: {drawn.samples:,} of {len(looked.looks):,} samples that were looked at")
        _report_some("crossed out on the sheet", drawn.unreadable, report)
    return broken


def _report_some(what: str, reasons: Sequence[str], report: Report) -> None:
    """Report the first reasons, and how many more there are."""
    for reason in reasons[:REASONS_SHOWN]:
        report(f"  {what}: {reason}")
    if len(reasons) > REASONS_SHOWN:
        report(f"  {what}: {len(reasons) - REASONS_SHOWN:,} more")


def _describe(store: Store, index: Index, looks: Sequence[Look], report: Report) -> None:
    report(f"{index.name} at {store.url}")
    for name, of_field in index.fields.items():
        report(f"  {name:8} {of_field.kind}, {_shape(name, of_field, looks)}")
    report(f"  classes  {_some(index.classes)}")
    if index.attributes:
        report(f"  attributes  {_some(index.attributes)}")
    report(f"  licence  {index.licence or 'not known'}")
    report(f"  source   {index.source or 'not known'}")
    report(f"  digest   {index.digest}")
    for reason, count in index.left_out.items():
        report(f"  left out {count:,}: {reason}")
    for split, shards in index.splits.items():
        samples, size = sum(s.count for s in shards), sum(s.bytes for s in shards)
        report(f"  {split:8} {samples:,} samples in {len(shards):,} shards, {size / 1e6:,.1f} MB")


def _some(names: Sequence[str]) -> str:
    """Return names in a line; of many, the first ones and how many there are."""
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names) or "none"
    return f"{len(names):,}: {', '.join(names[:NAMES_SHOWN])}, …"


def _shape(name: str, of_field: Field, looks: Sequence[Look]) -> str:
    """Describe the values of a field in words."""
    if of_field.kind == "integer":
        return "one number"
    if of_field.kind == "array":
        return f"{'x'.join(map(str, of_field.shape))} numbers" if of_field.shape else "one number"
    members = f" ({' or '.join(of_field.members)})"
    if not of_field.has_several_sizes:
        channels, height, width = of_field.shape
        return f"{height}x{width} pixels (height x width), {_channels(channels)}{members}"
    shapes = sorted(_image_shapes(name, looks), key=lambda shape: (shape[1] * shape[2], shape))
    if not shapes:
        return "of several sizes" + members
    (_, height, width), (_, highest, widest) = shapes[0], shapes[-1]
    channels_found = " and ".join(_channels(channels) for channels in sorted({shape[0] for shape in shapes}))
    sizes = f"{height}x{width} to {highest}x{widest} pixels (height x width), {channels_found}"
    return f"of several sizes, {sizes}, in {len(shapes):,} that were looked at{members}"


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _image_shapes(name: str, looks: Sequence[Look]) -> list[tuple[int, int, int]]:
    """Return (channels, height, width) of all images that were looked at and can be read."""
    shapes = []
    for look in looks:
        content = look.members[name]
        if look.whole and content is not None:
            try:
                shapes.append(image_shape(bytes(content)))
            except Exception:  # noqa: S112  # whatever a decoder raises of a hostile image; checking reports damage
                continue
    return shapes


def _check(store: Store, index: Index, report: Report) -> int:
    """Check all shards, report those that are damaged and how many samples the classes have; return how many are damaged."""
    counted = class_field(index)
    column = list(index.fields).index(counted) if counted is not None else None
    words = index.fields[counted].words if counted is not None else {}
    broken = 0
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="check") as pool:
        for split, shards in index.splits.items():
            classes: Counter[int | None] = Counter()
            for checked in pool.map(lambda shard: _check_shard(store, shard, len(index.fields), column, words), shards):
                if checked.problem is not None:
                    broken += 1
                    report(f"  damaged: {checked.problem}")
                if len(classes) <= MOST_CLASSES:
                    classes.update(checked.classes)
            if counted is not None:
                report(f"  {split:8} by {counted}: {_counts(index, counted, classes)}")
    report(f"  check    {'every shard is what the index says' if not broken else f'{broken} shards are damaged'}")
    return broken


def _counts(index: Index, counted: str, classes: Counter[int | None]) -> str:
    """Describe how many samples each class has; of many classes, the fewest and the most."""
    if len(classes) > MOST_CLASSES:
        return f"more than {MOST_CLASSES:,} different numbers"
    unread = classes.pop(None, 0)
    parts = [f"{unread:,} that cannot be read"] if unread else []
    named = dict.fromkeys(range(len(index.classes)), 0) if counted == "label" else {}
    samples = sorted((named | {value: count for value, count in classes.items() if value is not None}).items())
    by_count = sorted(samples, key=lambda pair: pair[1])
    shown = samples if len(samples) <= CLASSES_SHOWN else [*by_count[:3], *by_count[-3:]]
    texts = [f"{index.classes[value] if value in named else value}: {count:,}" for value, count in shown]
    if len(samples) > CLASSES_SHOWN:
        texts = [f"{len(samples):,} different ones, {', '.join(texts[:3])} … {', '.join(texts[3:])}"]
    return ", ".join([*texts, *parts]) or "none"


def _check_shard(store: Store, shard: Shard, fields: int, column: int | None, words: Mapping[str, int]) -> _Checked:
    """Compare the size, the checksum and the number of samples of a stored shard with the index, and count its classes.

    Args:
        fields: number of fields of the set.
        column: of the field that holds the class; None counts none.
    """
    checked = _Checked()
    digest = hashlib.sha256()
    try:
        classes = _ClassReader(read_table(store, shard, fields), column, words)
        for begin in range(0, shard.bytes, PIECE):
            content = store.get_range(shard.name, begin, min(PIECE, shard.bytes - begin))
            digest.update(content)
            classes.read(begin, content)
    except DataError as error:
        checked.problem = str(error)
        return checked
    if digest.hexdigest() != shard.sha256:
        checked.problem = f"{shard.name}: its SHA-256 is not the one in the index"
    elif _has_more(store, shard):
        checked.problem = f"{shard.name}: has more than the {shard.bytes:,} bytes that the index says"
    else:
        checked.classes = classes.counts
    return checked


def _has_more(store: Store, shard: Shard) -> bool:
    """Return whether a stored shard is larger than its index says: one byte after its last one is asked for with that one."""
    begin = max(shard.bytes - 1, 0)
    try:
        store.get_range(shard.name, begin, shard.bytes + 1 - begin)
    except DataError:
        return False
    return True


class _ClassReader:
    """Counts the classes of a shard that is read in pieces, in order.

    Args:
        column: of the field that holds the class; None counts none.
        words: of that field.
    """

    def __init__(self, table: Table, column: int | None, words: Mapping[str, int]) -> None:
        self._number_of = number_reader(words)
        self._longest = max([LONGEST_INTEGER, *(len(word.encode()) for word in words)]) + LONGEST_INTEGER  # and white space
        self.counts: Counter[int | None] = Counter()
        self._last = b""
        if column is None:
            self._begins = self._ends = np.empty(0, np.int64)
            return
        places, sizes = table.members[:, column].astype(np.int64).T
        readable = (sizes != ABSENT) & (sizes <= self._longest)
        self._begins = (table.offsets + places)[readable]
        self._ends = self._begins + sizes[readable]
        if not readable.all():
            self.counts[None] = int((~readable).sum())

    def read(self, begin: int, content: memoryview) -> None:
        """Count the classes whose text ends in this piece of the shard, which begins at a byte."""
        joined = self._last + bytes(content)
        start = begin - len(self._last)
        first, last = np.searchsorted(self._ends, [begin, begin + len(content)], side="right").tolist()
        places = zip((self._begins[first:last] - start).tolist(), (self._ends[first:last] - start).tolist(), strict=True)
        for text, count in Counter(joined[at:end] for at, end in places).items():
            try:
                self.counts[self._number_of(text)] += count
            except ValueError:
                self.counts[None] += count
        self._last = joined[-self._longest :]
