"""Tars that packing writes are those of webdataset's own writer, byte for byte, whatever the names."""

import io
import tarfile
from pathlib import Path
from random import Random

import numpy as np
import pytest
from webdataset.writer import TarWriter

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.headers import end_mark, member_header
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.table import make_table, read_table
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.shards.walk import walk
from unbraid.datasets.store import FolderStore

FIELDS = {"image": Field("image", ("png", "jpg"), (3, 8, 8)), "label": Field("integer", ("cls",))}


def samples(count: int) -> list[dict[str, object]]:
    random = Random(count)
    keys = [f"{number:06d}" for number in range(count)] + ["a/b c/d", "ä/ö", "x" * 90, "y" * 97, "z" * 300, "日本/" + "語" * 40]
    return [
        {"__key__": key, "png": random.randbytes(random.choice((0, 1, 511, 512, 513, 5000))), "cls": b"%d" % number}
        for number, key in enumerate(keys)
    ]


@pytest.mark.parametrize("count", [0, 1, 40, 300])
def test_a_shard_is_that_of_webdatasets_writer(count: int, tmp_path: Path) -> None:
    store, written = FolderStore(tmp_path), samples(count)
    shard = write_shard(store, "a.tar", FIELDS, written)
    expected = io.BytesIO()
    writer = TarWriter(expected, encoder=False, mtime=0, user="unbraid", group="unbraid")
    for sample in written:
        writer.write(sample)
    writer.close()
    assert store.get("a.tar") == expected.getvalue()
    assert shard.bytes == len(expected.getvalue())


def test_the_table_is_that_of_a_walk_through_the_tar(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    shard = write_shard(store, "a.tar", FIELDS, samples(100))
    found, expected = read_table(store, shard, len(FIELDS)), make_table(walk([store.get("a.tar")]), FIELDS)
    for name in ("offsets", "sizes", "hashes", "group_hashes", "members"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11])
@pytest.mark.parametrize("name", ["a.png", "a" * 100, "b" * 101, "ü.png"])
def test_a_header_is_that_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uname, info.gname = size, 0o444, "unbraid", "unbraid"
    assert member_header(name, size) == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize("size", [0, 512, 10240 - 1024, 10240 - 512, 10240])
def test_a_tar_ends_with_two_empty_blocks_and_a_whole_record(size: int) -> None:
    mark = end_mark(size)
    assert len(mark) >= 1024
    assert (size + len(mark)) % tarfile.RECORDSIZE == 0
    assert len(mark) - 1024 < tarfile.RECORDSIZE


@pytest.mark.parametrize("keys", [["a", "b", "a"], ["a", "a"], ["a.b"], ["a/b.c"]])
def test_keys_that_readers_would_join_or_cut_are_refused(keys: list[str], tmp_path: Path) -> None:
    members = [{"__key__": key, "png": b"1", "cls": b"1"} for key in keys]
    with pytest.raises(DataError, match=r"two samples have the key 'a'|has a dot, at which readers would end it"):
        write_shard(FolderStore(tmp_path), "a.tar", FIELDS, members)
    assert not list(tmp_path.iterdir())
