"""Writes plain WebDataset tars deterministically, and reads and checks their samples."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from webdataset.writer import TarWriter

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field, Shard
from unbraid.datasets.shards.table import Table, make_table, read_table
from unbraid.datasets.shards.walk import BLOCK, TarError, walk
from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.keys import relative_key

Sample = dict[str, bytes]
"""One sample: ``__key__`` (as bytes) and the contents of its members by extension, such as ``png`` and ``cls``."""


def write_shard(store: Store, name: str, fields: Mapping[str, Field], samples: Iterable[Mapping[str, object]]) -> Shard:
    """Write one tar and then its table, each complete or not at all: a shard that has a table is complete.

    The same samples give the same bytes: members are ordered, owners and times are fixed.

    Args:
        samples: in webdataset's form, ``{"__key__": "000012", "png": b"...", "cls": b"7"}``, members already encoded.

    Raises:
        DataError: when a sample lacks a field's member, or there is no room for the shard.
    """
    try:
        return _write_shard(store, name, fields, samples)
    except OSError as error:
        where = tempfile.gettempdir()
        raise DataError(
            f"{where}: {error.strerror or error}: a shard is written there first; free space, or set TMPDIR"
        ) from error


def _write_shard(store: Store, name: str, fields: Mapping[str, Field], samples: Iterable[Mapping[str, object]]) -> Shard:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.tar"
        with (
            path.open("wb") as file,
            closing(TarWriter(file, encoder=False, mtime=0, user="unbraid", group="unbraid")) as writer,
        ):
            for sample in samples:
                _require_members(sample, fields, f"{store.url}/{name}")
                writer.write(sample)
        content = memoryview(path.read_bytes())
        shard, table = describe_shard(content, name, fields, f"{store.url}/{name}")
        store.put_file(name, path)
        store.put(shard.table_key, table)
    return shard


def _require_members(sample: Mapping[str, object], fields: Mapping[str, Field], where: str) -> None:
    try:
        relative_key(str(sample["__key__"]))
    except ValueError as error:
        raise DataError(f"{where}: the key of a sample: {error}") from None
    for name, field in fields.items():
        if not any(extension in sample for extension in field.members):
            raise DataError(f"{where}: sample {sample['__key__']} has no {' or '.join(field.members)} for the field {name!r}")


def describe_shard(content: memoryview, name: str, fields: Mapping[str, Field], where: str) -> tuple[Shard, bytes]:
    """Return the index's entry for a tar, and its encoded table.

    Raises:
        DataError: when the content is not that of a tar of samples.
    """
    try:
        table = make_table(walk([content]), fields)
    except TarError as error:
        raise DataError(f"{where}: {error}") from None
    encoded = table.encoded()
    sha256 = hashlib.sha256(content).hexdigest()
    return Shard(name, len(content), sha256, len(table.offsets), hashlib.sha256(encoded).hexdigest()), encoded


def read_samples(store: Store, shard: Shard, fields: int, first: int, last: int) -> Iterator[Sample]:
    """Read samples ``first`` to ``last`` (exclusive) of a shard, by one ranged GET, in webdataset's form.

    Args:
        fields: number of fields of the set.

    Raises:
        DataError: when a sample's bytes are not the ones that were packed.
    """
    table = read_table(store, shard, fields)
    start, length = table.span(first, last)
    content = memoryview(store.get_range(shard.name, start, length))
    whole = table.whole(content, first, last)
    for i in range(first, last):
        begin = int(table.offsets[i]) - start
        stretch = content[begin : begin + int(table.sizes[i])]
        if not whole[i - first]:
            raise DataError(damaged(store, shard, table, i))
        try:
            yield parse_sample(stretch)
        except ValueError as error:
            where = f"{store.url}/{shard.name}"
            raise DataError(f"{where}: sample {i} is not a sequence of plain tar members ({error}); pack it again") from None


def damaged(store: Store, shard: Shard, table: Table, sample: int) -> str:
    """Compose the message for a sample whose checksum differs."""
    begin = int(table.offsets[sample])
    return (
        f"{store.url}/{shard.name}: the checksum of sample {sample} (bytes {begin} to {begin + int(table.sizes[sample])}) "
        "differs from the one packed: the shard was changed or damaged; `unbraid data inspect` lists all such shards, "
        "then pack them again"
    )


def parse_sample(content: memoryview) -> Sample:
    """Read the members of the first sample of a part of a tar.

    Raises:
        ValueError: when the content does not begin with a complete sample.
    """
    try:
        found = next(walk([content, bytes(2 * BLOCK)]), None)
    except TarError as error:
        raise ValueError(error) from None
    if found is None:
        raise ValueError("no members")
    members = {extension: bytes(found.member(extension)) for extension in found.members}
    return {"__key__": found.key.encode(errors="replace"), **members}
