"""Which samples of a set are looked at: from everywhere, within bounds of bytes, of every class and split."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.shards.test_sheet import SMALL_FIELDS, Samples, labelled, noise, packed
from unbraid.datasets.raw.images import encode_png
from unbraid.datasets.shards import selection
from unbraid.datasets.shards.index import Field, read_index
from unbraid.datasets.shards.selection import Look, choose, look_around
from unbraid.datasets.shards.sheet import fitting_layout
from unbraid.datasets.sources.source import image_field, label_field
from unbraid.datasets.store import FolderStore


def test_a_thousand_classes_are_shown_once_each(tmp_path: Path) -> None:
    url = packed(tmp_path / "set", SMALL_FIELDS, {"train": labelled(3000, 1000), "test": labelled(1000, 1000)})
    store = FolderStore(Path(url))
    index = read_index(store)
    looks = look_around(store, index).looks
    layout = fitting_layout(index, 1000)
    chosen = Counter(look.integer("label") for look in choose(looks, "label", layout.count))
    assert set(chosen) == set(range(1000))
    assert max(chosen.values()) <= 2
    splits = Counter(look.split for look in choose(looks, "label", 1000))
    assert min(splits["train"], splits["test"]) > 400


def test_few_classes_are_shown_many_times_from_every_split(tmp_path: Path) -> None:
    url = packed(tmp_path / "set", SMALL_FIELDS, {"train": labelled(900, 2), "test": labelled(400, 2), "val": labelled(9, 2)})
    store = FolderStore(Path(url))
    chosen = choose(look_around(store, read_index(store)).looks, "label", 100)
    assert Counter(look.integer("label") for look in chosen) == {0: 50, 1: 50}
    found = Counter((look.integer("label"), look.split) for look in chosen)
    assert (found[0, "val"], found[1, "val"]) == (5, 4)
    assert all(abs(found[label, "train"] - found[label, "test"]) <= 1 for label in (0, 1))
    assert [look.integer("label") for look in chosen] == [0] * 50 + [1] * 50
    assert len({(look.split, look.number) for look in chosen}) == 100


def look(split: str, number: int, label: bytes | None) -> Look:
    return Look(split, "a.tar", number, {"label": None if label is None else memoryview(label)}, True, memoryview(b""))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([b"0", b"1", b"2", b"7", b"x", None])), max_size=60),
    st.integers(1, 40),
)
@settings(max_examples=200, deadline=None)
def test_no_class_is_shown_again_while_another_could_be(samples: list[tuple[str, bytes | None]], count: int) -> None:
    looks = [look(split, number, label) for number, (split, label) in enumerate(samples)]
    chosen = choose(looks, "label", count)
    assert len({found.number for found in chosen}) == len(chosen) == min(count, len(looks))
    available = Counter(found.integer("label") for found in looks)
    shown = Counter(found.integer("label") for found in chosen)
    for label in available:
        for other in shown:
            assert shown[label] + 1 >= shown[other] or shown[label] == available[label]


def test_few_bytes_are_read_of_a_large_shard_from_all_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(selection, "MOST_READS", 256)
    monkeypatch.setattr(selection, "BYTES_A_READ", 10_000)
    samples: Samples = [{"__key__": f"{i:06d}", "png": encode_png(noise(40, 40, i)), "cls": b"1"} for i in range(2000)]
    fields = {"image": image_field((3, 40, 40)), "label": label_field()}
    store = FolderStore(Path(packed(tmp_path / "set", fields, {"train": samples})))
    index = read_index(store)
    before = store.statistics.bytes
    numbers = [found.number for found in look_around(store, index).looks]
    table = (tmp_path / "set/train.npy").stat().st_size
    assert 100_000 < store.statistics.bytes - before - table <= 1 << 20 < (tmp_path / "set/train.tar").stat().st_size / 8
    assert min(numbers) < 100
    assert max(numbers) > 1900
    assert np.diff(sorted(numbers)).max() < 100


def test_a_sample_larger_than_is_read_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "LARGEST_SAMPLE", 20_000)
    monkeypatch.setattr(selection, "BYTES_A_READ", 2_000)
    sizes = [100 if i == 7 else 8 for i in range(20)]
    samples: Samples = [{"__key__": f"{i}", "png": encode_png(noise(size, size, i))} for i, size in enumerate(sizes)]
    store = FolderStore(Path(packed(tmp_path / "set", {"image": Field("image", ("png",), (3, 0, 0))}, {"train": samples})))
    numbers = {found.number for found in look_around(store, read_index(store)).looks}
    assert 7 not in numbers
    assert len(numbers) >= 15
