"""Reads and writes the table beside each shard: the place of every sample and its members in the tar, and its SHA-256.

With its table, any sample is read by one ranged GET and without a tar library. A table is a plain ``.npy`` file. It is fetched
when the first sample of its shard is read, so that ``index.json`` stays small for any number of samples, and a rank holds few
tables at a time.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.arrays import LONGEST_HEADER, read_array
from unbraid.datasets.shards.index import Field, Shard
from unbraid.datasets.store import Store

ABSENT = 0xFFFFFFFF
"""Stands for the length of a member that a sample does not have."""
HASH_BYTES = 16
"""Bytes of each sample's SHA-256 that a table keeps: enough that nobody finds another sample with the same ones."""
CHECKSUM_ATTEMPTS = 3
"""Bytes that are wrong three times in a row were damaged in the store, not in transfer."""


@dataclass(frozen=True)
class Table:
    """Describes one shard of N samples with F fields.

    Attributes:
        offsets: (N,) int64, first byte of each sample's first header.
        sizes: (N,) int64, bytes from there to the next sample.
        hashes: (N, 16) uint8, the first bytes of each sample's SHA-256, tar headers included.
        members: (N, F, 2) uint32: for each field, the offset of its content in the sample, and its length.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    hashes: NDArray[np.uint8]
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
        begins = (self.offsets[first:last] - self.offsets[first]).tolist()
        found = b"".join([hashlib.sha256(content[b:e]).digest()[:HASH_BYTES] for b, e in pairwise([*begins, len(content)])])
        if found == self.hashes[first:last].tobytes():
            return np.ones(last - first, dtype=bool)
        same: NDArray[np.bool_] = (np.frombuffer(found, np.uint8).reshape(-1, HASH_BYTES) == self.hashes[first:last]).all(1)
        return same

    def encoded(self) -> bytes:
        """Encode the table as the ``.npy`` file that is stored."""
        rows = np.zeros(len(self.offsets), dtype=_dtype(self.members.shape[1]))
        rows["offset"], rows["size"], rows["sha256"], rows["members"] = self.offsets, self.sizes, self.hashes, self.members
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        return buffer.getvalue()


def _dtype(fields: int) -> np.dtype[np.void]:
    return np.dtype([("offset", "<u8"), ("size", "<u4"), ("sha256", "u1", (HASH_BYTES,)), ("members", "<u4", (fields, 2))])


def read_table(store: Store, shard: Shard, fields: int) -> Table:
    """Read the table of a shard.

    Args:
        fields: number of fields of the set.

    Raises:
        DataError: when the table is missing, is not the one that was packed with this shard, or leads out of the shard.
    """
    where, dtype = f"{store.url}/{shard.table_key}", _dtype(fields)
    for _ in range(CHECKSUM_ATTEMPTS):
        content = store.get(shard.table_key, LONGEST_HEADER + shard.count * dtype.itemsize)
        if hashlib.sha256(content).hexdigest() == shard.table_sha256:
            try:
                rows = read_array(content, (shard.count,), dtype)
                return _checked(rows, shard)
            except ValueError as error:
                raise DataError(f"{where}: {error}; pack the set again") from None
        store.statistics.retried("Checksum")
    raise DataError(f"{where}: is not the table that belongs to {shard.name}; pack the set again")


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
    return Table(offsets, sizes, rows["sha256"], members)


def make_table(content: memoryview, fields: Mapping[str, Field], where: str) -> tuple[Table, list[str]]:
    """Make the table of a tar, by reading it once.

    Args:
        content: of the tar.
        where: name of the tar, for messages.

    Returns:
        The table, and the samples' keys.

    Raises:
        DataError: when a sample's members are not neighbours, or the content is not a tar.
    """
    columns = {extension: i for i, f in enumerate(fields.values()) for extension in f.members}
    keys: dict[str, None] = {}
    offsets: list[int] = []
    rows: list[NDArray[np.int64]] = []
    end = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, slash, file = member.name.rpartition("/")
                stem, _, extension = file.partition(".")
                key = folder + slash + stem
                if key not in keys:
                    keys[key] = None
                    offsets.append(member.offset)
                    rows.append(np.full((len(fields), 2), (0, ABSENT), dtype=np.int64))
                elif key != next(reversed(keys)):
                    raise DataError(f"{where}: members of {key} are not beside each other; pack it again")
                if extension in columns:
                    rows[-1][columns[extension]] = (member.offset_data - offsets[-1], member.size)
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except tarfile.TarError as error:
        raise DataError(f"{where}: not a tar ({error})") from None
    starts = np.array(offsets, dtype=np.int64)
    sizes = np.diff(starts, append=end)
    stretches = (content[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True))
    hashes = b"".join(hashlib.sha256(stretch).digest()[:HASH_BYTES] for stretch in stretches)
    members = np.stack(rows).astype(np.uint32) if rows else np.zeros((0, len(fields), 2), np.uint32)
    return Table(starts, sizes, np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES), members), list(keys)
