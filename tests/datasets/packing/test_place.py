"""The place of a set: one packing at a time, half a set is none, another set is not overwritten unasked, nothing old stays."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.packing.test_pack import image, silent, source
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.packing.place import Place
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.shards.index import INDEX_KEY, read_index
from unbraid.datasets.shards.readers import readers_of, reading
from unbraid.datasets.store import FolderStore, Store, lease
from unbraid.datasets.store.lease import HeldError, Holder
from unbraid.datasets.stream.stream import read_split


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "set", create=True)


def shade(value: int) -> dict[str, bytes]:
    return {"png": image(value), "cls": b"%d" % (value % 7)}


def stop_at(number: int, offset: int) -> object:
    def load(i: int) -> Mapping[str, bytes]:
        if i == number:
            raise KeyboardInterrupt
        return shade(i + offset)

    return load


def labels(store: Store) -> list[int]:
    return sorted(np.concatenate([batch["label"].numpy() for batch in read_split(store.url, "train", 50)]).tolist())


def test_the_same_set_is_not_packed_again(store: Store) -> None:
    first = pack(source(), store, silent, shards=10, options={"size": "8x8"})
    said: list[str] = []
    before = {key: store.get(key) for key in store.keys("")}
    assert pack(source(), store, said.append, shards=10, options={"size": "8x8"}) == first
    assert said == [f"the same set is packed at {store.url} already"]
    assert {key: store.get(key) for key in store.keys("")} == before


@pytest.mark.parametrize(
    ("count", "mark", "options", "message"),
    [
        (100, "new", {"size": "8x8"}, "the raw files have other names, sizes or times"),
        (99, "", {"size": "8x8"}, "the raw files have other names, sizes or times"),
        (100, "16", {"size": "16x16"}, r"--size: 8x8, now 16x16"),
        (100, "16", {"size": "8x8", "labels": "True"}, r"--labels: not given, now True"),
    ],
)
def test_another_set_is_not_overwritten_unasked(
    store: Store, count: int, mark: str, options: dict[str, str], message: str
) -> None:
    first = pack(source(), store, silent, shards=10, options={"size": "8x8"})
    with pytest.raises(
        DataError, match=rf"(?s)another set is packed there, tiny \(digest {first.digest[:12]}\):\n  {message}\n.*--force"
    ):
        pack(source(count, mark=mark), store, silent, shards=10, options=options)
    assert read_index(store) == first
    assert pack(source(count, mark=mark), store, silent, shards=10, options=options, force=True) != first


def test_half_a_set_is_none_and_goes_on_by_itself(store: Store) -> None:
    pack(source(load=lambda i: shade(i)), store, silent, shards=10)
    other = source(load=stop_at(60, 1), mark="new")  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        pack(other, store, silent, shards=10, threads=1, force=True)
    assert not store.exists(INDEX_KEY)
    with pytest.raises(DataError, match="an unfinished packing is there: repeat its command"):
        next(read_split(store.url, "train", 50))
    index = pack(source(load=lambda i: shade(i + 1), mark="new"), store, silent, shards=10)  # without --force
    assert labels(store) == sorted((i + 1) % 7 for i in range(100))
    assert sum(shard.count for shard in index.shards("train")) == 100


@pytest.mark.parametrize("interrupted", [False, True])
def test_fewer_shards_leave_no_old_ones(store: Store, interrupted: bool) -> None:
    pack(source(), store, silent, shards=20)
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            pack(source(load=stop_at(60, 1), mark="new"), store, silent, shards=13, threads=1, force=True)  # type: ignore[arg-type]
    index = pack(source(mark="newer"), store, silent, shards=5, force=not interrupted)
    expected = {shard.name for shards in index.splits.values() for shard in shards}
    assert {key for key in store.keys("") if key.endswith(".tar")} == expected
    assert {key for key in store.keys("") if key.endswith(".npy")} == {name.replace(".tar", ".npy") for name in expected}
    assert not store.keys("packing/")


def test_an_index_of_another_version_is_packed_over(store: Store) -> None:
    pack(source(), store, silent, shards=20)
    content = json.loads(store.get(INDEX_KEY))
    store.put(INDEX_KEY, json.dumps(content | {"version": 2}).encode())
    with pytest.raises(DataError, match="has version 2"):
        pack(source(), store, silent, shards=5)
    index = pack(source(), store, silent, shards=5, force=True)
    assert {key for key in store.keys("") if key.endswith(".tar")} == {shard.name for shard in index.shards("train")} | {
        shard.name for shard in index.splits.get("test", ())
    }


def test_tars_of_others_are_neither_mixed_in_nor_deleted(store: Store) -> None:
    store.put("theirs-000000.tar", b"x")
    with pytest.raises(DataError, match=r"holds 1 tars that are no part of this set, such as theirs-000000\.tar"):
        pack(source(), store, silent, shards=10)
    assert store.get("theirs-000000.tar") == b"x"
    assert not store.exists(INDEX_KEY)


def test_two_packings_to_one_place_do_not_meet(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    with Place(store).claimed(), pytest.raises(HeldError, match=f"{store.url} is being packed by process .*: wait until"):
        pack(source(mark="other"), FolderStore(Path(store.url)), silent, shards=10)
    assert not store.keys("")
    assert pack(source(), store, silent, shards=10)


def test_a_set_that_is_being_read_is_not_packed_over(store: Store) -> None:
    first = pack(source(), store, silent, shards=10)
    with reading(store.url, "raysubmit_1"):
        wait_until(lambda: bool(readers_of(store)))
        with pytest.raises(DataError, match=r"is being read by job raysubmit_1, .*: what they train on would change"):
            pack(source(mark="new"), store, silent, shards=10, force=True)
        assert read_index(store) == first
        store.put("readers/foreign.json", b"{}")
    assert pack(source(mark="new"), store, silent, shards=10, force=True) != first


def test_a_reader_that_has_died_holds_nobody_up(store: Store) -> None:
    pack(source(), store, silent, shards=10)
    gone = replace(Holder.here(), pid=2**22 + 1)
    store.put("readers/gone.json", json.dumps(asdict(gone)).encode())
    assert pack(source(mark="new"), store, silent, shards=10, force=True)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def test_a_member_that_the_stream_cannot_decode_is_found_while_packing(store: Store) -> None:
    """One decoder forgives what another does not: only the stream's own counts."""

    def load(i: int) -> Mapping[str, bytes]:
        content = bytearray(image(i))
        if i == 7:
            content[-20] ^= 0xFF  # in the compressed pixels, or their checksum
        return {"png": bytes(content), "cls": b"1"}

    with pytest.raises(DataError, match=r"train-007: its image cannot be decoded .*--max-skipped"):
        pack(source(test=0, load=load), store, silent, shards=10)
    index = pack(source(test=0, load=load), store, silent, shards=10, max_skipped=1)
    assert index.left_out == {"unusable samples": 1}


def test_an_image_of_another_size_than_the_set_says_is_found_while_packing(store: Store) -> None:
    def load(i: int) -> Mapping[str, bytes]:
        return {"png": encode_png(np.zeros((8, 9 if i == 30 else 8), np.uint8)), "cls": b"1"}

    with pytest.raises(DataError, match=r"030: its image cannot be decoded \(it is \(1, 8, 9\), the index says \(1, 8, 8\)\)"):
        pack(source(test=0, load=load), store, silent, shards=10)
