"""Reads and writes the table beside each shard: the place of every sample and its members in the tar, and checksums.

With its table, any sample is read by one ranged GET and without a tar library. A table is a plain ``.npy`` file. It is fetched
when the first sample of its shard is read, so that ``index.json`` stays small for any number of samples, and a rank holds few
tables at a time.
"""

import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field, Shard
from unbraid.datasets.store import Store

ABSENT = 0xFFFFFFFF
"""Stands for the length of a member that a sample does not have."""
CHECKSUM_ATTEMPTS = 3
"""Bytes that are wrong three times in a row were damaged in the store, not in transfer."""


@dataclass(frozen=True)
class Table:
    """Describes one shard of N samples with F fields.

    Attributes:
        offsets: (N,) int64, first byte of each sample's first header.
        sizes: (N,) int64, bytes from there to the next sample.
        crc32: (N,) uint32, of all samples of the shard up to the end of this one. Any stretch of samples is checked by one
            call that starts from the value of the sample before it.
        members: (N, F, 2) uint32: for each field, the offset of its content in the sample, and its length.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    crc32: NDArray[np.uint32]
    members: NDArray[np.uint32]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return start and length, in bytes, of samples ``first`` to ``last`` (exclusive)."""
        start = int(self.offsets[first])
        return start, int(self.offsets[last - 1] + self.sizes[last - 1]) - start

    def is_whole(self, content: memoryview, first: int, last: int) -> bool:
        """Return whether ``content`` equals what was packed as samples ``first`` to ``last`` (exclusive)."""
        before = int(self.crc32[first - 1]) if first else 0
        return zlib.crc32(content, before) == int(self.crc32[last - 1])

    def encoded(self) -> bytes:
        """Encode the table as the ``.npy`` file that is stored."""
        rows = np.zeros(len(self.offsets), dtype=_dtype(self.members.shape[1]))
        rows["offset"], rows["size"], rows["crc32"], rows["members"] = self.offsets, self.sizes, self.crc32, self.members
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        return buffer.getvalue()


def _dtype(fields: int) -> np.dtype[np.void]:
    return np.dtype([("offset", "<u8"), ("size", "<u4"), ("crc32", "<u4"), ("members", "<u4", (fields, 2))])


def read_table(store: Store, shard: Shard) -> Table:
    """Read the table of a shard.

    Raises:
        DataError: when the table is missing, or is not the one that was packed with this shard.
    """
    for _ in range(CHECKSUM_ATTEMPTS):
        content = store.get(shard.table_key)
        if hashlib.sha256(content).hexdigest() == shard.table_sha256:
            rows = np.load(io.BytesIO(content), allow_pickle=False)
            return Table(rows["offset"].astype(np.int64), rows["size"].astype(np.int64), rows["crc32"], rows["members"])
        store.statistics.retried("Checksum")
    raise DataError(f"{store.url}/{shard.table_key}: is not the table that belongs to {shard.name}; pack the set again")


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
    crc32 = list(accumulate(stretches, lambda crc, stretch: zlib.crc32(stretch, crc), initial=0))
    members = np.stack(rows).astype(np.uint32) if rows else np.zeros((0, len(fields), 2), np.uint32)
    return Table(starts, sizes, np.array(crc32[1:], dtype=np.uint32), members), list(keys)
