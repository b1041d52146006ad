"""Puts together what was found in all tars: the fields of the index, the names of classes, what is left out."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from unbraid.datasets.errors import DataError
from unbraid.datasets.indexing.one_tar import IndexedTar
from unbraid.datasets.indexing.wanted import Wanted
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.index import Field, Index
from unbraid.datasets.untrusted.documents import parse_json

MOST_CLASSES = 100_000
SHOWN = 5
_INTEGER = re.compile(r"-?\d{1,19}")

Report = Callable[[str], None]


def number_field(want: Wanted, records: Sequence[IndexedTar]) -> tuple[Field, tuple[str, ...]]:
    """Make an integer field of numbers, or of words, which are numbered in order; return it and the names of its values."""
    words = words_of(want.name, records)
    if all(_INTEGER.fullmatch(word) for word in words):
        numbers = [int(word) for word in words]
        named = min(numbers) >= 0 and max(numbers) < MOST_CLASSES
        return Field("integer", want.members), tuple(map(str, range(max(numbers) + 1))) if named else ()
    meant = {
        word: parse_json(f'"{word}"'.encode(), str, want.name) if want.path else word for word in words
    }  # JSON may write one text in two ways
    names = tuple(sorted(set(meant.values())))
    numbers_of = {name: number for number, name in enumerate(names)}
    return Field("integer", want.members, words={word: numbers_of[name] for word, name in sorted(meant.items())}), names


def words_of(name: str, records: Sequence[IndexedTar]) -> Counter[str]:
    """Count the texts of an integer field over all tars."""
    words: Counter[str] = Counter()
    for record in records:
        words.update(record.seen[name].words)
    return words


def shaped_field(want: Wanted, records: Sequence[IndexedTar], any_size: bool, where: str) -> Field:
    """Make a field of images or arrays.

    Raises:
        DataError: when they have different shapes, unless these are sizes of images and may differ.
    """
    shapes: dict[tuple[int, ...], tuple[int, str]] = {}
    for record in records:
        for seen in record.seen[want.name].shapes:
            count, example = shapes.get(tuple(seen.shape), (0, f"{record.shard.name}: {seen.example}"))
            shapes[tuple(seen.shape)] = (count + seen.count, example)
    sizes = {shape[1:] for shape in shapes} if want.kind == "image" else set(shapes)
    if len(sizes) == 1:
        largest = max(shapes)
        return Field(want.kind, want.members, largest, all(record.seen[want.name].is_plain for record in records))
    if want.kind == "image" and any_size:
        return Field("image", want.members, (max(shape[0] for shape in shapes), 0, 0), is_plain=False)
    frequent = sorted(shapes.items(), key=lambda item: -item[1][0])
    lines = [f"{count:,} of {'x'.join(map(str, shape))}, such as {example}" for shape, (count, example) in frequent[:SHOWN]]
    more = [f"and {len(shapes) - SHOWN:,} other shapes"] if len(shapes) > SHOWN else []
    remedy = (
        "give --any-size and train with data.fit=[HEIGHT,WIDTH], which decodes and resizes every image when it is read; tars "
        "that were read already are not read again"
        if want.kind == "image"
        else "leave the field out with --fields"
    )
    found = "".join(f"\n  {line}" for line in lines + more)
    raise DataError(
        f"{where}: the values of {want.name} have {len(shapes):,} shapes, of which no batch can be made:{found}\n{remedy}"
    )


def left_out_of(records: Sequence[IndexedTar]) -> Tally:
    """Count the samples that were left out of all tars, by reason."""
    left_out = Tally()
    for record in records:
        for kind, count in record.left_out.items():
            left_out.add(kind, f"{record.shard.name}: {record.examples.get(kind, '')}", count)
    return left_out


def describe_findings(index: Index, records: Sequence[IndexedTar], report: Report) -> None:
    """Report the values of each field, what is left out, and the samples of each split."""
    for name, field in index.fields.items():
        if field.kind == "integer":
            values = words_of(name, records)
            shown = ", ".join(f"{word} {count:,}" for word, count in sorted(values.items())[: 2 * SHOWN])
            report(f"  {name:8} {len(values):,} values: {shown}{', …' if len(values) > 2 * SHOWN else ''}")
        else:
            report(f"  {name:8} {field}{'' if field.is_plain else '; decoded by the slower, general decoder'}")
    for line in left_out_of(records):
        report(f"  left out {line}")
    for record in records:
        for reason in record.unreadable:
            report(f"  skipped  {reason}")
    for split, shards in index.splits.items():
        report(f"  {split:8} {sum(shard.count for shard in shards):,} samples in {len(shards):,} tars")
