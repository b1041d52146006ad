"""The shard format: plain tars that any reader reads, tables that locate every sample, and checks that find damage."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from tests.conftest import FIELDS, SHARD, TEST, TRAIN, pack_digits
from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import INDEX_KEY, read_index
from unbraid.datasets.shards.inspect import inspect_set
from unbraid.datasets.shards.table import make_table, read_table
from unbraid.datasets.shards.tar import parse_sample, read_samples, write_shard
from unbraid.datasets.shards.walk import walk
from unbraid.datasets.store import FolderStore, open_store
from unbraid.datasets.stream.order import Stretch
from unbraid.datasets.stream.read import ShardReader


def test_webdataset_reads_the_shards(digits_folder: Path) -> None:
    names = sorted(str(p) for p in digits_folder.glob("train-*.tar"))
    samples = list(wds.WebDataset(names, shardshuffle=False))
    assert len(samples) == TRAIN
    assert {"__key__", "png", "cls"} <= samples[0].keys()


def test_index_finds_each_sample_in_the_tar(digits_folder: Path) -> None:
    store = open_store(str(digits_folder))
    shard = read_index(store).shards("test")[1]
    with tarfile.open(digits_folder / shard.name) as tar:
        members = {m.name: tar.extractfile(m) for m in tar}
        expected = {name: file.read() for name, file in members.items() if file is not None}
    samples = list(read_samples(store, shard, len(FIELDS), 0, shard.count))
    assert len(samples) == shard.count == SHARD
    for sample in samples:
        key = sample.pop("__key__").decode()
        assert sample == {name.partition(".")[2]: content for name, content in expected.items() if name.startswith(f"{key}.")}


def test_same_samples_give_the_same_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [{"__key__": f"{i}", "png": b"x" * i, "cls": b"1"} for i in range(20)]
    written = []
    for folder, clock in (("one", 1e9), ("two", 1.5e9)):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        written.append(write_shard(FolderStore(tmp_path / folder, create=True), "a.tar", FIELDS, samples))
    assert written[0] == written[1]
    assert (tmp_path / "one/a.tar").read_bytes() == (tmp_path / "two/a.tar").read_bytes()
    assert (tmp_path / "one/a.npy").read_bytes() == (tmp_path / "two/a.npy").read_bytes()


def test_a_member_without_its_partner_is_refused(tmp_path: Path) -> None:
    samples = [{"__key__": "0", "png": b"x", "cls": b"1"}, {"__key__": "1", "png": b"x"}]
    with pytest.raises(DataError, match=r"a\.tar: sample 1 has no cls for the field 'label'"):
        write_shard(FolderStore(tmp_path, create=True), "a.tar", FIELDS, samples)
    assert not list(tmp_path.iterdir())


def test_long_names_are_found_too(tmp_path: Path) -> None:
    key = "/".join(["a-rather-long-folder-name"] * 8)
    samples = [{"__key__": f"{key}/{i}", "png": b"x" * i, "cls": b"7"} for i in range(1, 5)]
    store = FolderStore(tmp_path, create=True)
    shard = write_shard(store, "a.tar", FIELDS, samples)
    block = ShardReader(store, (shard,), len(FIELDS)).read((Stretch(0, 1, 4),), np.array([2, 0, 1]))
    assert [bytes(content or b"") for content in block.encoded(0, 3, 0)] == [b"xxxx", b"xx", b"xxx"]
    assert [bytes(content or b"") for content in block.encoded(1, 3, 1)] == [b"7"] * 2
    assert [sample["__key__"].decode() for sample in read_samples(store, shard, len(FIELDS), 0, 2)] == [f"{key}/1", f"{key}/2"]


def test_index_holds_what_was_packed(digits_folder: Path) -> None:
    index = read_index(open_store(str(digits_folder)))
    assert sum(s.count for s in index.shards("train")) == TRAIN
    assert sum(s.count for s in index.shards("test")) == TEST
    assert index.image_shapes == {"image": (1, 28, 28)}


def test_a_missing_split_is_named(digits_folder: Path) -> None:
    with pytest.raises(DataError, match=r"no samples in split 'valid'; its splits are: train, validation, test"):
        read_index(open_store(str(digits_folder))).shards("valid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"version": 7}, "has version 7, this unbraid reads version 4"),
        (lambda c: c | {"format": "other"}, "not an index of packed shards"),
        (lambda c: c | {"digest": "0"}, "was changed after packing"),
        (lambda c: {k: v for k, v in c.items() if k != "fields"}, "fields: Field required"),
    ],
)
def test_a_foreign_index_is_refused(tmp_path: Path, change: object, message: str) -> None:
    store = open_store(str(tmp_path))
    pack_digits(store)
    content = json.loads(store.get(INDEX_KEY))
    assert callable(change)
    store.put(INDEX_KEY, json.dumps(change(content)).encode())
    with pytest.raises(DataError, match=message):
        read_index(store)


def test_a_folder_without_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unbraid data pack"):
        read_index(open_store(str(tmp_path)))


def test_inspection_describes_a_set_and_draws_it(digits_folder: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    assert inspect_set(str(digits_folder), tmp_path / "sheet.png", check=True, report=reports.append) == 0
    text = "\n".join(reports)
    assert "1,600 samples in 32 shards" in text
    assert "every shard is what the index says" in text
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_inspection_finds_a_damaged_shard(tmp_path: Path, damage: str) -> None:
    pack_digits(open_store(str(tmp_path)))
    path = tmp_path / "train-00003.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content) if damage == "flip" else bytes(content[:-512]))
    reports: list[str] = []
    assert inspect_set(str(tmp_path), None, check=True, report=reports.append) == 1
    assert any("train-00003.tar" in line for line in reports)


def test_a_damaged_sample_is_not_returned(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    shard = pack_digits(store).shards("train")[0]
    path = tmp_path / shard.name
    content = bytearray(path.read_bytes())
    content[int(read_table(store, shard, len(FIELDS)).offsets[5]) + 600] ^= 1
    path.write_bytes(content)
    assert len(list(read_samples(store, shard, len(FIELDS), 0, 5))) == 5
    with pytest.raises(DataError, match=rf"{shard.name}: the checksum of sample 5 .* differs"):
        list(read_samples(store, shard, len(FIELDS), 0, 10))


def test_a_table_of_another_shard_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    first, second, *_ = pack_digits(store).shards("train")
    store.put(first.table_key, store.get(second.table_key))
    with pytest.raises(DataError, match=f"is not the table that belongs to {first.name}"):
        read_table(store, first, len(FIELDS))
    reports: list[str] = []
    assert inspect_set(str(tmp_path), None, check=True, report=reports.append) == 1


def test_links_in_a_tar_are_no_samples(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ValueError, match="no members"):
        parse_sample(memoryview(buffer.getvalue()))
    assert len(make_table(walk([buffer.getvalue()]), FIELDS).offsets) == 0
