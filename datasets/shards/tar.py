"""Writes plain WebDataset tars deterministically, and reads and checks their samples."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.headers import end_mark, member_header
from unbraid.datasets.shards.index import MAKE_AGAIN, Field, Shard
from unbraid.datasets.shards.table import Table, make_table, read_table
from unbraid.datasets.shards.walk import BLOCK, TarError, TarSample, walk
from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.keys import relative_key

WRITTEN_TOGETHER = 1 << 20
"""Bytes that are handed to the file system at once."""
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
    sha256 = hashlib.sha256()
    with tempfile.NamedTemporaryFile(buffering=WRITTEN_TOGETHER, suffix=".tar") as file:
        table = make_table(_written(file, sha256, _composed(samples, fields, f"{store.url}/{name}")), fields)
        mark = end_mark(file.tell())
        file.write(mark)
        file.flush()
        sha256.update(mark)
        encoded = table.encoded()
        shard = Shard(name, file.tell(), sha256.hexdigest(), len(table.offsets), hashlib.sha256(encoded).hexdigest())
        store.put_file(name, Path(file.name))
    store.put(shard.table_key, encoded)
    return shard


def _composed(samples: Iterable[Mapping[str, object]], fields: Mapping[str, Field], where: str) -> Iterator[TarSample]:
    """Yield the bytes of each sample, and where its members are in them: what a walk through the finished tar would find.

    Raises:
        DataError: when a sample's key cannot be one, or is that of another, or a field's member is missing.
    """
    offset = 0
    seen: set[str] = set()
    for sample in samples:
        key = _checked_key(sample, fields, where)
        if key in seen:
            raise DataError(f"{where}: two samples have the key {key!r}")
        seen.add(key)
        composed, parts, length = TarSample(key, offset), [], 0
        for extension in sorted(name for name in sample if not name.startswith("_")):
            member = sample[extension]
            assert isinstance(member, bytes), extension
            header = member_header(f"{key}.{extension}", len(member))
            composed.members[extension.lower()] = (length + len(header), len(member))
            parts += [header, member, bytes(-len(member) % BLOCK)]
            length += len(header) + len(member) + len(parts[-1])
        composed.content = b"".join(parts)
        offset += length
        yield composed


def _written(file: IO[bytes], sha256: "hashlib._Hash", samples: Iterable[TarSample]) -> Iterator[TarSample]:
    """Write samples to a file, and add them to its hash, as they are passed on."""
    for sample in samples:
        file.write(sample.content)
        sha256.update(sample.content)
        yield sample


def _checked_key(sample: Mapping[str, object], fields: Mapping[str, Field], where: str) -> str:
    """Return the key of a sample that has a member for each field.

    Raises:
        DataError: when the key cannot be one, or a member is missing.
    """
    key = str(sample["__key__"])
    try:
        relative_key(key)
    except ValueError as error:
        raise DataError(f"{where}: the key of a sample: {error}") from None
    if "." in key.rpartition("/")[2]:
        raise DataError(f"{where}: the key of a sample: {key!r} has a dot, at which readers would end it")
    for name, field in fields.items():
        if not any(extension in sample for extension in field.members):
            raise DataError(f"{where}: sample {key} has no {' or '.join(field.members)} for the field {name!r}")
    return key


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
            raise DataError(f"{where}: sample {i} is not a sequence of plain tar members ({error}); {MAKE_AGAIN}") from None


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
