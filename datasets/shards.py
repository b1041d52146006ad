"""Plain WebDataset tars: written deterministically, read sample by sample without a tar library."""

import hashlib
import io
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from webdataset.writer import TarWriter

from datasets.errors import DataError
from datasets.index import Shard
from datasets.store import Store

BLOCK = tarfile.BLOCKSIZE
Sample = dict[str, bytes]
"""One sample: ``__key__`` (as bytes) and its members' contents by extension, such as ``png`` and ``cls``."""


def write_shard(store: Store, name: str, samples: Iterable[Mapping[str, object]]) -> Shard:
    """Write one tar and upload it whole.

    The same samples give the same bytes: members are ordered, owners and times are fixed.

    Args:
        samples: webdataset's form, ``{"__key__": "000012", "png": b"...", "cls": b"7"}``, members already encoded.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.tar"
        offsets: list[int] = []
        with path.open("wb") as file:
            writer = TarWriter(file, encoder=False, mtime=0, user="unbraid", group="unbraid")
            for sample in samples:
                offsets.append(writer.tarstream.offset)
                writer.write(sample)
            end = writer.tarstream.offset
            writer.close()
        store.put_file(name, path)
        content = memoryview(path.read_bytes())
        stretches = zip(offsets, [*offsets[1:], end], strict=True)
        crc32 = tuple(zlib.crc32(content[begin:stop]) for begin, stop in stretches)
        return Shard(name, len(content), hashlib.sha256(content).hexdigest(), tuple(offsets), end, crc32)


def read_samples(store: Store, shard: Shard, first: int, last: int) -> Iterator[Sample]:
    """Samples ``first`` to ``last`` (exclusive) of a shard, by one ranged GET.

    Raises:
        DataError: when a sample's bytes are not the ones that were packed.
    """
    start, length = shard.span(first, last)
    content = memoryview(store.get_range(shard.name, start, length))
    for i in range(first, last):
        begin, size = shard.span(i, i + 1)
        stretch = content[begin - start : begin - start + size]
        if zlib.crc32(stretch) != shard.crc32[i]:
            raise DataError(
                f"{store.url}/{shard.name}: the checksum of sample {i} (bytes {begin} to {begin + size}) "
                "differs from the index: the shard was changed or damaged; `unbraid data inspect` lists all such shards, "
                "then pack them again"
            )
        try:
            yield parse_sample(stretch)
        except ValueError as error:
            where = f"{store.url}/{shard.name}"
            raise DataError(f"{where}: sample {i} is not a sequence of plain tar members ({error}); pack it again") from None


def parse_sample(content: memoryview) -> Sample:
    """Members of one sample, from its own stretch of a tar.

    Raises:
        ValueError: when it is not a sequence of whole members of one key.
    """
    sample: Sample = {}
    position = 0
    while position < len(content):
        # the four fields of a ustar header that matter; tarfile.TarInfo takes five times as long, for each image
        header = bytes(content[position : position + BLOCK])
        name, kind = header[:100].rstrip(b"\0"), header[156:157]
        if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise ValueError(f"member {name.decode()!r} is of type {kind!r}, expected regular files")
        if prefix := header[345:500].rstrip(b"\0"):
            name = prefix + b"/" + name
        size = int(header[124:136].rstrip(b"\0 "), 8)
        body = position + BLOCK
        if body + size > len(content):
            raise ValueError(f"member {name.decode()!r} is cut off")
        folder, slash, file = name.rpartition(b"/")
        stem, _, extension = file.partition(b".")
        key = folder + slash + stem
        if sample.setdefault("__key__", key) != key:
            raise ValueError(f"members of {sample['__key__'].decode()!r} and {key.decode()!r} are mixed")
        sample[extension.decode()] = bytes(content[body : body + size])
        position = body + -(-size // BLOCK) * BLOCK
    return sample


def check_shard(store: Store, shard: Shard) -> str | None:
    """What is wrong with a stored shard, or None: size, checksum, and every sample at its offset."""
    content = store.get(shard.name)
    if len(content) != shard.bytes:
        return f"{shard.name}: has {len(content)} bytes, the index says {shard.bytes}"
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        return f"{shard.name}: its SHA-256 is not the one in the index"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = [m for m in archive if m.isfile()]
    keys = dict.fromkeys(m.name.rpartition("/")[2].partition(".")[0] for m in members)
    if len(keys) != shard.count:
        return f"{shard.name}: holds {len(keys)} samples, the index says {shard.count}"
    return None
