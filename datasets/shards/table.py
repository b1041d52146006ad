"""Reads and writes the table beside each shard: the place of every sample and its members in the tar, and its SHA-256.

With its table, any sample is read by one ranged GET and without a tar library. A table is a plain ``.npy`` file. It is fetched
when the first sample of its shard is read, so that ``index.json`` stays small for any number of samples, and a rank holds few
tables at a time.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.arrays import LONGEST_HEADER, read_array
from unbraid.datasets.shards.index import MAKE_AGAIN, Field, Shard
from unbraid.datasets.shards.walk import TarSample
from unbraid.datasets.store import Store

ABSENT = 0xFFFFFFFF
"""Stands for the length of a member that a sample does not have."""
HASH_BYTES = 16
"""Bytes of each sample's SHA-256 that a table keeps: enough that nobody finds another sample with the same ones."""
GROUP = 32
"""Samples that are checked by one call, where they are read together: a call for each costs a fifth of the loader's rate."""
CHECKSUM_ATTEMPTS = 3
"""Bytes that are wrong three times in a row were damaged in the store, not in transfer."""


@dataclass(frozen=True)
class Table:
    """Describes one shard of N samples with F fields.

    Attributes:
        offsets: (N,) int64, first byte of each sample's first header.
        sizes: (N,) int64, bytes from there to the next sample.
        hashes: (N, 16) uint8, the first bytes of each sample's SHA-256, tar headers included.
        group_hashes: (N, 16) uint8, the same of all samples from the last multiple of 32 up to and with this one.
        members: (N, F, 2) uint32: for each field, the offset of its content in the sample, and its length.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    hashes: NDArray[np.uint8]
    group_hashes: NDArray[np.uint8]
    members: NDArray[np.uint32]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return start and length, in bytes, of samples ``first`` to ``last`` (exclusive)."""
        start = int(self.offsets[first])
        return start, int(self.offsets[last - 1] + self.sizes[last - 1]) - start

    def whole(self, content: memoryview, first: int, last: int) -> NDArray[np.bool_]:
        """Return which of samples ``first`` to ``last`` (exclusive) are what was packed, (last − first,).

        Args:
            content: of these samples.
        """
        start = int(self.offsets[first])
        ends = [0, *(self.offsets[first:last] + self.sizes[first:last] - start).tolist()]
        if self._groups_are_whole(content, first, last, ends):
            return np.ones(last - first, dtype=bool)
        found = np.frombuffer(b"".join(_hash(content[b:e]) for b, e in pairwise(ends)), np.uint8).reshape(-1, HASH_BYTES)
        same: NDArray[np.bool_] = (found == self.hashes[first:last]).all(1)
        return same

    def _groups_are_whole(self, content: memoryview, first: int, last: int, ends: list[int]) -> bool:
        """Return whether all samples are what was packed, by one call for each group, and one a sample before the first group.

        Args:
            ends: of each sample in ``content``, after a 0.
        """
        whole = min(-(-first // GROUP) * GROUP, last)  # where the first whole group begins
        found = [_hash(content[b:e]) for b, e in pairwise(ends[: whole - first + 1])]
        expected = [self.hashes[first:whole]]
        for begin in range(whole, last, GROUP):
            end = min(begin + GROUP, last)
            found.append(_hash(content[ends[begin - first] : ends[end - first]]))
            expected.append(self.group_hashes[end - 1 : end])
        return b"".join(found) == np.concatenate(expected).tobytes()

    def encoded(self) -> bytes:
        """Encode the table as the ``.npy`` file that is stored."""
        rows = np.zeros(len(self.offsets), dtype=_dtype(self.members.shape[1]))
        rows["offset"], rows["size"], rows["members"] = self.offsets, self.sizes, self.members
        rows["sha256"], rows["group_sha256"] = self.hashes, self.group_hashes
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        return buffer.getvalue()


def _hash(content: memoryview) -> bytes:
    return hashlib.sha256(content).digest()[:HASH_BYTES]


def _dtype(fields: int) -> np.dtype[np.void]:
    hashed = ("u1", (HASH_BYTES,))
    columns = [
        ("offset", "<u8"),
        ("size", "<u4"),
        ("sha256", *hashed),
        ("group_sha256", *hashed),
        ("members", "<u4", (fields, 2)),
    ]
    return np.dtype(columns)


def table_bytes(shard: Shard, fields: int) -> int:
    """Return the bytes that the table of a shard takes."""
    return LONGEST_HEADER + shard.count * _dtype(fields).itemsize


def read_table(store: Store, shard: Shard, fields: int) -> Table:
    """Read the table of a shard.

    Args:
        fields: number of fields of the set.

    Raises:
        DataError: when the table is missing, is not the one that was packed with this shard, or leads out of the shard.
    """
    where, dtype = f"{store.url}/{shard.table_key}", _dtype(fields)
    for _ in range(CHECKSUM_ATTEMPTS):
        content = store.get(shard.table_key, table_bytes(shard, fields))
        if hashlib.sha256(content).hexdigest() == shard.table_sha256:
            try:
                rows = read_array(content, (shard.count,), dtype)
                return _checked(rows, shard)
            except ValueError as error:
                raise DataError(f"{where}: {error}; {MAKE_AGAIN}") from None
        store.statistics.retried("Checksum")
    raise DataError(f"{where}: is not the table that belongs to {shard.name}; {MAKE_AGAIN}")


def _checked(rows: NDArray[np.void], shard: Shard) -> Table:
    """Convert the rows of a table, all of whose places must lie in its shard, one after the other.

    Raises:
        ValueError: when they do not.
    """
    offsets, sizes = rows["offset"].astype(np.int64), rows["size"].astype(np.int64)
    members = rows["members"]
    ends = members.astype(np.int64).sum(2)
    present = members[:, :, 1] != ABSENT
    inside = (offsets >= 0).all() and (offsets + sizes <= shard.bytes).all() and (ends <= sizes[:, None])[present].all()
    if not inside or (offsets[1:] != (offsets + sizes)[:-1]).any():
        raise ValueError(f"its places are not those of samples in {shard.bytes:,} bytes")
    return Table(offsets, sizes, rows["sha256"], rows["group_sha256"], members)


def make_table(samples: Iterable[TarSample], fields: Mapping[str, Field]) -> Table:
    """Make the table of a tar from its samples, in order.

    The bytes between two samples, such as those of a sample that is left out, count to the one before.
    """
    columns = {extension: i for i, f in enumerate(fields.values()) for extension in f.members}
    offsets: list[int] = []
    sizes: list[int] = []
    hashes: list[bytes] = []
    group_hashes: list[bytes] = []
    rows = []
    running = hashlib.sha256()
    for number, sample in enumerate(samples):
        row = [(0, ABSENT)] * len(fields)
        for extension, place in sample.members.items():
            if extension in columns:
                row[columns[extension]] = place
        if number % GROUP == 0:
            running = hashlib.sha256()
        running.update(sample.content)
        offsets.append(sample.offset)
        sizes.append(len(sample.content))
        hashes.append(hashlib.sha256(sample.content).digest()[:HASH_BYTES])
        group_hashes.append(running.digest()[:HASH_BYTES])
        rows.append(row)
    members = np.array(rows, np.uint32).reshape(len(rows), len(fields), 2)
    starts, lengths = np.array(offsets, np.int64), np.array(sizes, np.int64)
    return Table(starts, lengths, _stacked(hashes), _stacked(group_hashes), members)


def _stacked(hashes: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)
