"""Describing a set in words: its classes counted by split, what is damaged, and what nobody counted."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import pack_digits
from tests.datasets.shards.test_sheet import SMALL_FIELDS, labelled, packed
from unbraid.datasets.shards import inspect
from unbraid.datasets.shards.index import Index, read_index, write_index
from unbraid.datasets.shards.inspect import inspect_set
from unbraid.datasets.shards.tar import read_samples, write_shard
from unbraid.datasets.store import FolderStore


def inspected(url: Path | str, check: bool = True) -> tuple[int, list[str]]:
    lines: list[str] = []
    return inspect_set(str(url), None, check, lines.append), lines


@pytest.mark.parametrize("piece", [700, 5000, 8 << 20])
def test_classes_are_counted_by_split_whatever_is_read_at_a_time(
    digits_folder: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(inspect, "PIECE", piece)
    store = FolderStore(digits_folder)
    index = read_index(store)
    broken, lines = inspected(digits_folder)
    assert broken == 0
    for split, shards in index.splits.items():
        samples = [sample for s in shards for sample in read_samples(store, s, len(index.fields), 0, s.count)]
        counts = Counter(int(sample["cls"]) for sample in samples)
        assert f"  {split:8} by label: {', '.join(f'{n}: {counts[n]}' for n in range(10))}" in lines


@pytest.mark.parametrize("piece", [1, 2, 3, 513])
def test_a_label_that_two_pieces_share_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(inspect, "PIECE", piece)
    samples = labelled(5, 10**6, first=123_456)
    _, lines = inspected(packed(tmp_path / "set", SMALL_FIELDS, {"train": samples}))
    assert "  train    by label: 123456: 1, 123457: 1, 123458: 1, 123459: 1, 123460: 1" in lines


def test_many_classes_are_summed_up_by_the_fewest_and_the_most(tmp_path: Path) -> None:
    samples = labelled(90, 30) + labelled(7, 1, first=900) + labelled(5, 1, first=950)
    names = tuple(f"kind {i}" for i in range(32))
    _, lines = inspected(packed(tmp_path / "set", SMALL_FIELDS, {"train": samples}, names))
    (counts,) = (line for line in lines if " by label: " in line)
    assert "32 different ones, kind 30: 0, kind 31: 0, kind 1: 3" in counts
    assert counts.endswith("kind 0: 15")
    assert any("classes  32: kind 0, kind 1, " in line and line.endswith(", …") for line in lines)


def test_labels_without_a_name_and_labels_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    samples = labelled(4, 2)
    samples[0]["cls"], samples[1]["cls"], samples[2]["cls"] = b"7", b"cat", b"9" * 30
    _, lines = inspected(packed(tmp_path / "set", SMALL_FIELDS, {"train": samples}, ("a", "b")))
    assert "  train    by label: a: 0, b: 1, 7: 1, 2 that cannot be read" in lines


def test_more_different_labels_than_are_counted_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "MOST_CLASSES", 50)
    _, lines = inspected(packed(tmp_path / "set", SMALL_FIELDS, {"train": labelled(60, 60)}))
    assert "  train    by label: more than 50 different numbers" in lines


def test_without_check_it_says_that_nothing_was_counted(digits_folder: Path) -> None:
    broken, lines = inspected(digits_folder, check=False)
    assert broken == 0
    assert not any("by label" in line for line in lines)
    assert "  check    left out, and so are the counts of classes (--no-check)" in lines


def test_fields_licence_source_and_what_was_left_out_are_printed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "set", create=True)
    shard = write_shard(store, "a.tar", SMALL_FIELDS, labelled(3, 2))
    index = Index("set", SMALL_FIELDS, ("a", "b"), "CC0", "drawn by hand", {"train": (shard,)})
    write_index(store, dataclasses.replace(index, left_out={"not an image": 1200, "a link": 1}))
    text = "\n".join(inspected(store.url)[1])
    assert "image    image, 8x8 pixels (height x width), 1 channel (png or jpg)" in text
    assert "licence  CC0" in text
    assert "source   drawn by hand" in text
    assert "left out 1,200: not an image" in text
    assert "left out 1: a link" in text
    assert "train    3 samples in 1 shards" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:700] + b"x" + content[701:], "its SHA-256 is not the one in the index"),
        (lambda content: content[:-512], "ends 512 bytes early"),
        (lambda content: content + b"x", "has more than the"),
    ],
    ids=["changed", "cut", "longer"],
)
def test_a_shard_that_is_not_what_the_index_says_is_damaged(tmp_path: Path, change: object, message: str) -> None:
    pack_digits(FolderStore(tmp_path / "set", create=True))
    path = tmp_path / "set/train-00003.tar"
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))
    broken, lines = inspected(tmp_path / "set")
    assert broken == 1
    (line,) = (line for line in lines if "damaged: " in line)
    assert "train-00003.tar" in line
    assert message in line
    assert "1 shards are damaged" in lines[-1]


def test_a_set_on_s3_is_checked_counted_and_drawn_as_one_in_a_folder(
    digits_url: str, digits_folder: Path, tmp_path: Path
) -> None:
    found = {}
    for url in (digits_url, str(digits_folder)):
        lines: list[str] = []
        path = tmp_path / "sheet.png"
        assert inspect_set(url, path, True, lines.append) == 0
        found[url] = lines[1:], path.read_bytes()
    assert found[digits_url] == found[str(digits_folder)]
