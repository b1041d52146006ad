"""Tars that exist become a set: every sample that training reads is the one in the tar, and no tar is changed."""

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.writer import ShardWriter

from tests.datasets.packing.test_pack import silent
from unbraid.datasets.errors import DataError
from unbraid.datasets.indexing import one_tar
from unbraid.datasets.indexing.index_tars import IndexOptions, index_tars
from unbraid.datasets.indexing.tars import find_tars, parse_splits
from unbraid.datasets.indexing.wanted import parse_fields
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.raw.images import encode_array, encode_png
from unbraid.datasets.shards.elsewhere import open_set
from unbraid.datasets.shards.index import INDEX_KEY, Index, read_index
from unbraid.datasets.shards.inspect import inspect_set
from unbraid.datasets.shards.selection import look_around
from unbraid.datasets.store import FolderStore, open_store
from unbraid.datasets.store.lease import Holder
from unbraid.datasets.stream.stream import SampleStream, read_split

Sample = Mapping[str, bytes]


def picture(i: int, side: int = 8, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def tar(path: Path, samples: Mapping[str, Sample], kind: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as archive:
        for key, members in samples.items():
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def labelled(first: int, last: int) -> dict[str, Sample]:
    return {f"{i:04d}": {"png": picture(i), "cls": b"%d" % (i % 3)} for i in range(first, last)}


def indexed(
    pattern: object, destination: object = None, fields: str | None = None, splits: tuple[str, ...] = (), **options: object
) -> Index:
    found = find_tars(str(pattern), parse_splits(splits))
    store = open_store(str(destination or found.store.url), create=destination is not None)
    wanted = parse_fields(fields) if fields else None
    said = options.pop("said", [])
    assert isinstance(said, list)
    return index_tars(found, wanted, store, IndexOptions("tars", **options), said.append, silent)  # type: ignore[arg-type]


def read(url: object, split: str = "train", fit: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    batches = list(read_split(str(url), split, 7, fit=fit))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.tar")}


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("on_s3", [False, True])
def test_tars_of_different_lengths_are_read_as_they_are(
    tmp_path: Path, request: pytest.FixtureRequest, elsewhere: bool, on_s3: bool
) -> None:
    url = request.getfixturevalue("bucket_url") if on_s3 else str(tmp_path / "tars")
    store = open_store(url, create=True)
    for number, (first, last) in enumerate([(0, 1), (1, 40), (40, 43), (43, 100)]):
        store.put_file(f"set-{number:03d}.tar", tar(tmp_path / "raw" / f"{number}.tar", labelled(first, last)))
    before = {key: store.get(key) for key in store.keys("")}
    destination = tmp_path / "index" if elsewhere else None
    index = indexed(f"{url}/set-{{000..003}}.tar", destination)
    assert {key: store.get(key) for key in before} == before
    assert store.exists(INDEX_KEY) != elsewhere
    assert index.classes == ("0", "1", "2")
    batch = read(destination or url)
    assert batch["label"].tolist() == [i % 3 for i in range(100)]
    assert all(np.array_equal(batch["image"][i], pixels(picture(i))) for i in range(100))
    sequences = []
    for world in (1, 2, 4):
        streams = [
            SampleStream(str(destination or url), "train", batch=16, lanes=8, window=4, seed=1, rank=rank, world_size=world)
            for rank in range(world)
        ]
        sequences.append([np.concatenate([next(s)["label"].numpy() for s in streams]).tolist() for _ in range(8)])
        for stream in streams:
            stream.close()
    assert sequences[0] == sequences[1] == sequences[2]
    assert inspect_set(str(destination or url), tmp_path / "sheet.png", True, silent) == 0


def test_tars_of_webdatasets_own_writer_are_read(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    with ShardWriter(str(tmp_path / "tars/train-%04d.tar"), maxcount=10, verbose=0) as writer:
        for i in range(25):
            writer.write({"__key__": f"sample{i:04d}", "png": picture(i), "cls": i % 4, "meta.json": {"id": i}})
    batch = read_after(tmp_path / "tars")
    assert batch["label"].tolist() == [i % 4 for i in range(25)]
    assert all(np.array_equal(batch["image"][i], pixels(picture(i))) for i in range(25))


def read_after(folder: Path, fields: str | None = None, **options: object) -> dict[str, np.ndarray]:
    before = contents(folder)
    indexed(folder, fields=fields, **options)  # type: ignore[arg-type]
    assert contents(folder) == before
    return read(folder)


def test_a_tar_that_the_command_tar_wrote_of_a_folder_is_read(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / f"raw/{'ab'[i % 2]}/{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
        path.with_suffix(".cls").write_text(f"{i % 2}\n")
    (tmp_path / "raw/README").write_text("about")
    (tmp_path / "tars").mkdir()
    for kind in ("gnu", "pax", "ustar"):
        raw, archive = str(tmp_path / "raw"), str(tmp_path / f"tars/{kind}.tar")
        command = ["tar", f"--format={kind}", "--sort=name", "-cf", archive, "-C", raw, "."]
        subprocess.run(command, check=True)
    batch = read_after(tmp_path / "tars")
    assert batch["label"].tolist() == [0] * 6 + [1] * 6 + [0] * 6 + [1] * 6 + [0] * 6 + [1] * 6
    order = [*range(0, 12, 2), *range(1, 12, 2)] * 3
    assert all(np.array_equal(image, pixels(picture(i))) for image, i in zip(batch["image"], order, strict=True))


def test_img2datasets_layout_is_read_with_labels_of_its_json(tmp_path: Path) -> None:
    """Samples of JPEG, caption and JSON; some downloads have failed and have no image."""
    samples: dict[str, Sample] = {}
    for i in range(20):
        meta = {"class": ["cat", "dög", "eel"][i % 3], "id": i}
        about = {"caption": 'a "dog" {class: 3}', "status": "success", "meta": meta}
        members = {"json": json.dumps(about, ensure_ascii=i % 2 == 0).encode(), "txt": b"a dog"}
        samples[f"{i:09d}"] = members if i in (0, 7, 19) else {"jpg": picture(i, kind="JPEG"), **members}
    tar(tmp_path / "tars/00000.tar", samples)
    said: list[str] = []
    batch = read_after(tmp_path / "tars", "image=jpg,label=json:meta.class,number=json:meta.id", said=said)
    kept = [i for i in range(20) if i not in (0, 7, 19)]
    assert batch["number"].tolist() == kept
    index = read_index(FolderStore(tmp_path / "tars"))
    assert index.left_out == {"samples without jpg for the field image": 3}
    assert any("left out 3 samples without jpg for the field image, such as 00000.tar: 000000000" in line for line in said)
    assert index.classes == ("cat", "dög", "eel")  # written as UTF-8 and as an escape
    assert batch["label"].tolist() == [i % 3 for i in kept]
    assert inspect_set(str(tmp_path / "tars"), None, True, silent) == 0


def test_what_is_not_used_and_what_matches_nothing_is_said(tmp_path: Path) -> None:
    samples = {str(i): {"png": picture(i), "json": b"{}"} | ({"cls": b"1"} if i % 2 else {}) for i in range(6)}
    tar(tmp_path / "tars/a.tar", samples)
    said: list[str] = []
    assert list(indexed(tmp_path / "tars", said=said).fields) == ["image"]
    assert "  not used json, which 6 of the first 6 samples have (--fields label=json:KEY)" in said
    assert "  not used cls, which 3 of the first 6 samples have (--fields label=cls)" in said
    with pytest.raises(DataError, match=r"--split test=nothing\*: matches none of 1 tars, such as a\.tar"):
        indexed(tmp_path / "tars", splits=("test=nothing*",), force=True)


def test_inspecting_counts_and_draws_classes_of_words(tmp_path: Path) -> None:
    words = ["a rather long name of a class", "cat"]
    samples = {str(i): {"png": picture(i), "json": json.dumps({"class": words[i % 2]}).encode()} for i in range(6)}
    tar(tmp_path / "tars/a.tar", samples)
    indexed(tmp_path / "tars", fields="image=png,label=json:class")
    lines: list[str] = []
    assert inspect_set(str(tmp_path / "tars"), tmp_path / "sheet.png", True, lines.append) == 0
    assert "  train    by label: a rather long name of a class: 3, cat: 3" in lines
    store, index = open_set(str(tmp_path / "tars"))
    assert [look.integer("label") for look in look_around(store, index).looks] == [0, 1, 0, 1, 0, 1]


def test_samples_left_out_in_a_row_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table's sizes are of 32 bits: a sample that carried more would be cut without a word."""
    cls = {f"{i:03d}": {"cls": b"1"} for i in range(20)}
    tar(tmp_path / "tars/a.tar", {"aaa": {"txt": b"x"}, "bbb": {"png": picture(0), "cls": b"1"}, **cls})
    monkeypatch.setattr(one_tar, "LARGEST_SAMPLE", 20 * 1024 - 1)
    with pytest.raises(DataError, match=r"a\.tar: 20,480 bytes of samples that lack a field follow bbb"):
        indexed(tmp_path / "tars", fields="image=png,label=cls")
    monkeypatch.setattr(one_tar, "LARGEST_SAMPLE", 20 * 1024)
    assert read_after(tmp_path / "tars", "image=png,label=cls")["label"].tolist() == [1]


def test_an_index_that_is_being_read_is_not_replaced(tmp_path: Path) -> None:
    tar(tmp_path / "tars/a.tar", labelled(0, 4))
    indexed(tmp_path / "tars")
    store = FolderStore(tmp_path / "tars")
    store.put("readers/run.json", json.dumps(asdict(Holder.here("raysubmit_1"))).encode())
    with pytest.raises(DataError, match=r"is being read by job raysubmit_1"):
        indexed(tmp_path / "tars", fields="image=png", force=True)
    assert list(read_index(store).fields) == ["image", "label"]


def test_texts_are_classes_in_order(tmp_path: Path) -> None:
    tar(tmp_path / "tars/a.tar", {str(i): {"png": picture(i), "cls": [b"dog\n", b"cat"][i % 2]} for i in range(6)})
    batch = read_after(tmp_path / "tars")
    assert read_index(FolderStore(tmp_path / "tars")).classes == ("cat", "dog")
    assert batch["label"].tolist() == [1, 0, 1, 0, 1, 0]


def test_images_that_are_not_plain_are_seen_as_packing_would_store_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    buffer = io.BytesIO()
    clear.save(buffer, "PNG")
    turned = picture(1, kind="PNG", exif=exif)
    tar(tmp_path / "tars/a.tar", {"0": {"png": buffer.getvalue()}, "1": {"png": turned}, "2": {"png": picture(2)}})
    batch = read_after(tmp_path / "tars")
    assert (batch["image"][0] == 255).all()
    assert np.array_equal(batch["image"][1], pixels(picture(1))[:, ::-1, ::-1])
    assert np.array_equal(batch["image"][2], pixels(picture(2)))


def test_images_of_several_sizes_are_named_or_resized_at_reading(tmp_path: Path) -> None:
    tar(tmp_path / "tars/a.tar", {"0": {"png": picture(0, 8)}, "1": {"png": picture(1, 8)}, "2": {"png": picture(2, 16)}})
    with pytest.raises(
        DataError, match=r"(?s)have 2 shapes.*2 of 3x8x8, such as a\.tar: 0.*1 of 3x16x16, such as a\.tar: 2.*data\.fit"
    ):
        indexed(tmp_path / "tars")
    assert not (tmp_path / "tars" / INDEX_KEY).exists()
    indexed(tmp_path / "tars", any_size=True)
    with pytest.raises(DataError, match=r"of several sizes and make no batch: .*data\.fit"):
        read(tmp_path / "tars")
    batch = read(tmp_path / "tars", fit=(4, 4))
    assert batch["image"].shape == (3, 3, 4, 4)
    exact = np.asarray(Image.open(io.BytesIO(picture(2, 16))).resize((4, 4), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert np.abs(batch["image"][2].astype(int) - exact).max() <= 1


def test_arrays_and_pairs_are_fields(tmp_path: Path) -> None:
    samples = {
        str(i): {"left.png": picture(i), "right.png": picture(100 + i), "pose.npy": encode_array(np.full((2, 3), i))}
        for i in range(4)
    }
    tar(tmp_path / "tars/a.tar", samples)
    batch = read_after(tmp_path / "tars", "x=left.png,y=right.png,pose=pose.npy")
    assert batch["pose"].shape == (4, 2, 3)
    assert np.array_equal(batch["y"][3], pixels(picture(103)))
    guessed = indexed(tmp_path / "tars", force=True)
    assert list(guessed.fields) == ["left", "right"]


def test_splits_are_the_words_in_the_names(tmp_path: Path) -> None:
    for name in ("train-0.tar", "train-1.tar", "val-0.tar"):
        tar(tmp_path / "tars" / name, labelled(0, 4))
    assert {s: len(shards) for s, shards in indexed(tmp_path / "tars").splits.items()} == {"train": 2, "test": 1}
    index = indexed(tmp_path / "tars", splits=("held=*-1.tar",), force=True)
    assert {s: len(shards) for s, shards in index.splits.items()} == {"train": 1, "test": 1, "held": 1}


def test_a_stopped_indexing_goes_on_without_reading_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        tar(tmp_path / f"tars/{number}.tar", labelled(10 * number, 10 * number + 10))
    bad = tmp_path / "tars/5.tar"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-12_000])
    with pytest.raises(DataError, match=r"5\.tar: is cut off"):
        indexed(tmp_path / "tars", threads=1)
    bad.write_bytes(whole)
    reads: list[str] = []
    get_range = FolderStore.get_range

    def counted(store: FolderStore, key: str, start: int, length: int) -> memoryview:
        reads.append(key)
        return get_range(store, key, start, length)

    monkeypatch.setattr(FolderStore, "get_range", counted)
    index = indexed(tmp_path / "tars", fields="image=png,label=cls")
    assert set(reads) == {"0.tar", "5.tar"}  # the first one is looked at to say what is in it
    assert sum(shard.count for shard in index.shards("train")) == 60
    assert not list((tmp_path / "tars").rglob("indexing/*"))
    said: list[str] = []
    indexed(tmp_path / "tars", fields="image=png,label=cls", said=said)
    assert said[-1].startswith("the same tars are indexed at")


def test_an_index_of_other_fields_is_replaced_on_request_only(tmp_path: Path) -> None:
    tar(tmp_path / "tars/a.tar", labelled(0, 4))
    indexed(tmp_path / "tars")
    with pytest.raises(
        DataError, match=r"another set is packed there, .*\n.*--fields: image=png,label=cls, now image=png\n.*--force"
    ):
        indexed(tmp_path / "tars", fields="image=png")
    assert list(indexed(tmp_path / "tars", fields="image=png", force=True).fields) == ["image"]


def test_packing_never_touches_tars_of_others(tmp_path: Path) -> None:
    from tests.datasets.packing.test_pack import source

    tar(tmp_path / "tars/train-000000.tar", labelled(0, 4))
    indexed(tmp_path / "tars")
    before = contents(tmp_path / "tars")
    for force in (False, True):
        with pytest.raises(DataError, match=r"tars (that were there already|that are no part of this set)"):
            pack(source(), FolderStore(tmp_path / "tars"), silent, shards=3, force=force)
    assert contents(tmp_path / "tars") == before


def test_an_unreadable_sample_is_named_or_left_out(tmp_path: Path) -> None:
    samples = {**labelled(0, 6), "0003": {"png": b"no image", "cls": b"1"}}
    tar(tmp_path / "tars/a.tar", samples)
    with pytest.raises(DataError, match=r"a\.tar: sample 0003: its image cannot be read \(.*\); repair .*--max-skipped"):
        indexed(tmp_path / "tars")
    index = indexed(tmp_path / "tars", max_skipped=1)
    assert index.left_out == {"unreadable samples": 1}
    assert read(tmp_path / "tars")["label"].tolist() == [0, 1, 2, 1, 2]


def test_pixels_are_decoded_on_request(tmp_path: Path) -> None:
    damaged = bytearray(picture(3))
    damaged[60] ^= 0xFF
    tar(tmp_path / "tars/a.tar", {"0": {"png": picture(0)}, "1": {"png": bytes(damaged)}})
    with pytest.raises(DataError, match="sample 1: its image cannot be read"):
        indexed(tmp_path / "tars", decode=True)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none", "no such file|no tar is there"),
        ("tars/*.jpg", "no tar is there"),
        ("tars/{000..003}.tar", r"3 of 4 tars are not there, such as 001\.tar"),
        ("gz", r"a\.tar\.gz: is compressed, so that no sample can be read without all those before it"),
    ],
)
def test_tars_that_are_not_there_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tar(tmp_path / "tars/000.tar", labelled(0, 2))
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz/a.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=message):
        find_tars(pattern)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("jpg", "expected NAME=EXTENSION"),
        ("image=jpg,image=png", "names 'image' twice"),
        ("image=exe", "expected extensions of images"),
        ("label=cls:a", "a path is for a JSON member"),
        ("image=jpg,label=json", "expected extensions of images"),
    ],
)
def test_fields_that_are_written_wrong_are_refused(fields: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_fields(fields)


@pytest.mark.parametrize(
    ("samples", "fields", "message"),
    [
        ({"0": {"png": encode_png(np.zeros((8, 8), np.uint8)), "jpg": b""}}, None, "has the images png and jpg: say which one"),
        ({"0": {"txt": b"x"}}, None, r"no images among its members \(txt\)"),
        ({"0": {"png": picture(0), "json": b'{"a": 1.5}'}}, "image=png,label=json:a", "a is 1.5, neither a whole number nor"),
        ({"0": {"png": picture(0), "json": b'{"a": 1, "a": 2}'}}, "image=png,label=json:a", "has 'a' twice"),
        ({"0": {"png": picture(0), "json": b"[" * 100_000}}, "image=png,label=json:a", "no object holds 'a'"),
        ({"0": {"png": picture(0), "json": b'{"b": ' + b"[" * 100_000}}, "image=png,label=json:a", "nested too deep"),
        ({"0": {"cls": b"1"}}, "image=png", "no sample has all fields"),
        ({"0": {"png": picture(0), "npy": encode_array([1])}, "1": {"png": picture(0), "npy": encode_array([1, 2])}},
         "image=png,a=npy", "values of a have 2 shapes"),
    ],
)  # fmt: skip
def test_samples_that_training_could_not_read_are_refused(
    tmp_path: Path, samples: Mapping[str, Sample], fields: str | None, message: str
) -> None:
    tar(tmp_path / "tars/a.tar", samples)
    with pytest.raises(DataError, match=message):
        indexed(tmp_path / "tars", fields=fields)
    assert not (tmp_path / "tars" / INDEX_KEY).exists()


def test_an_index_on_s3_names_no_tars_of_this_machine(tmp_path: Path, bucket_url: str) -> None:
    tar(tmp_path / "tars/a.tar", labelled(0, 4))
    indexed(tmp_path / "tars", bucket_url)
    with pytest.raises(DataError, match=r"says that the tars are at .*, which is not on S3"):
        read(bucket_url)
