"""Packing: equal shards, the same bytes each time, resuming where it stopped, nothing incomplete."""

import errno
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.packing import pack as pack_module
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.packing.plan import describe_source, plan_shards
from unbraid.datasets.raw.collection import UnusableSampleError
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.shards.index import INDEX_KEY, read_index
from unbraid.datasets.sources.people import make_people
from unbraid.datasets.sources.source import Item, Source, image_field, label_field
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.datasets.stream.stream import read_split


def image(i: int) -> bytes:
    return encode_png(np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8))


def source(
    train: int = 100,
    test: int = 10,
    load: Callable[[int], Mapping[str, bytes]] = lambda i: {"png": image(i), "cls": b"%d" % (i % 7)},
    mark: str = "",
) -> Source:
    splits = {
        name: [Item(f"{name}-{i:03d}", lambda i=i: load(i), f"{i} {mark}") for i in range(count)]  # type: ignore[misc]
        for name, count in (("train", train), ("test", test))
    }
    return Source("tiny", {"image": image_field((1, 8, 8)), "label": label_field()}, splits, shuffle=True)


def silent(text: str) -> None: ...


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(
        str(tmp_path / "out") if request.param == "folder" else request.getfixturevalue("bucket_url"), create=True
    )


def test_every_sample_is_packed_once_into_shards_of_equal_size(store: Store) -> None:
    index = pack(source(103), store, silent, shards=10)
    assert sorted({s.count for s in index.shards("train")}) == [10, 11]
    assert read_index(store) == index
    labels = np.concatenate([batch["label"].numpy() for batch in read_split(store.url, "train", 50)])
    assert sorted(labels.tolist()) == sorted(i % 7 for i in range(103))
    assert labels.tolist() != [i % 7 for i in range(103)]  # shuffled
    assert not store.keys("packing/")


@pytest.mark.parametrize("threads", [1, 4])
def test_the_same_files_give_the_same_bytes(tmp_path: Path, threads: int) -> None:
    for name, used in (("a", 1), ("b", threads)):
        pack(source(), FolderStore(tmp_path / name, create=True), silent, threads=used)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_repeated_call_goes_on_where_the_first_was_stopped(store: Store) -> None:
    loaded: list[int] = []

    def load(i: int, stop_at: int | None = None) -> Mapping[str, bytes]:
        if i == stop_at:
            raise KeyboardInterrupt
        loaded.append(i)
        return {"png": image(i), "cls": b"1"}

    plans = plan_shards(source(), 10)["train"]
    last = int(plans[6].items[-1].key.rpartition("-")[2])
    with pytest.raises(KeyboardInterrupt):
        pack(source(load=lambda i: load(i, last)), store, silent, shards=10, threads=1)
    assert not store.exists(INDEX_KEY)
    finished = len(store.keys("packing/"))
    assert finished >= 6
    loaded.clear()
    index = pack(source(load=load), store, silent, shards=10, threads=1)
    probes = 10
    assert len(loaded) <= 110 - 10 * finished + probes
    assert sum(s.count for s in index.shards("train")) == 100


def test_a_shard_whose_files_changed_is_written_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    bad = source(load=lambda i: {"png": image(i)} if i == 99 else {"png": image(i), "cls": b"1"})
    with pytest.raises(DataError, match="has no cls for the field 'label'"):
        pack(bad, store, silent, shards=10, threads=1)
    index = pack(source(load=lambda i: {"png": image(i + 1), "cls": b"2"}, mark="new"), store, silent, shards=10)
    labels = np.concatenate([batch["label"].numpy() for batch in read_split(str(tmp_path), "train", 50)])
    assert set(labels.tolist()) == {2}
    assert sum(s.count for s in index.shards("train")) == 100


def test_unusable_samples_are_an_error_or_counted(tmp_path: Path) -> None:
    def load(i: int) -> Mapping[str, bytes]:
        if i in (5, 6):
            raise UnusableSampleError(f"image-{i}.png: not a whole PNG or JPEG")
        return {"png": image(i), "cls": b"1"}

    with pytest.raises(DataError, match=r"image-[56]\.png: not a whole PNG or JPEG.*--max-skipped"):
        pack(source(test=0, load=load), FolderStore(tmp_path / "strict", create=True), silent)
    reports: list[str] = []
    index = pack(source(test=0, load=load), FolderStore(tmp_path / "lenient", create=True), reports.append, max_skipped=2)
    assert sum(s.count for s in index.shards("train")) == 98
    assert sum(text.startswith("skipped: image-") for text in reports) == 2


def test_a_dry_run_says_what_would_be_written() -> None:
    reports: list[str] = []
    opened = source(103)
    describe_source(opened, plan_shards(opened, 10), reports.append)
    text = "\n".join(reports)
    assert "103 samples in 10 shards of 10 or 11" in text
    assert "image (image, grey, 8x8 (height x width))" in text


def test_no_room_for_a_shard_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("unbraid.datasets.shards.tar.end_mark", full)
    with pytest.raises(DataError, match="No space left on device: a shard is written there first; free space, or set TMPDIR"):
        pack(source(), FolderStore(tmp_path, create=True), silent)


def test_two_samples_of_one_key_are_refused() -> None:
    twice = source()
    twice.splits["train"].extend(twice.splits["train"][3:5])  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="several samples of train have one key, and there are 2 such keys") as caught:
        plan_shards(twice)
    assert "  train-003: " in str(caught.value)
    assert "  train-004: " in str(caught.value), "all are named at once"


@pytest.mark.parametrize(
    ("opened", "shards", "message"),
    [(source(0, 0), None, "no samples to pack"), (source(5, 0), 6, "6 shards for 5 samples")],
)
def test_what_cannot_be_packed_is_refused(opened: Source, shards: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plan_shards(opened, shards)


@pytest.mark.parametrize("computed", [pack_module.FEW_ITEMS, pack_module.FEW_ITEMS + 1])
def test_only_many_computed_items_are_worth_processes(computed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def counted(count: int) -> Executor:
        started.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(pack_module, "worker_processes", counted)
    pack(replace(source(computed, 0), is_computed=True), FolderStore(tmp_path / "out"), silent, threads=2)
    assert started == ([] if computed <= pack_module.FEW_ITEMS else [2])


def test_processes_write_the_bytes_that_threads_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = make_people("people", identities=3, images=2, cameras=2, size=(32, 16), test_share=0.3)
    pack(people, open_store(str(tmp_path / "threads"), create=True), silent, threads=2)
    monkeypatch.setattr(pack_module, "FEW_ITEMS", 0)
    pack(people, open_store(str(tmp_path / "processes"), create=True), silent, threads=2)
    assert contents(tmp_path / "threads") == contents(tmp_path / "processes")
