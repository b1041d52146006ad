"""Data sets by strangers: indexes, tables, shards and images that claim what is not so, or hold more than they claim."""

import dataclasses
import hashlib
import io
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.datasets.stream.test_decode import block_of
from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import UnusableSampleError
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import encode_array, encode_png
from unbraid.datasets.shards.codec import decode_image
from unbraid.datasets.shards.index import INDEX_KEY, Index, read_index, write_index
from unbraid.datasets.shards.inspect import inspect_set
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.sources.source import image_field, label_field
from unbraid.datasets.store import FolderStore
from unbraid.datasets.stream.cache import open_cache
from unbraid.datasets.stream.decode import BatchDecoder
from unbraid.datasets.stream.stream import SampleStream, read_split

FIELDS = {"image": image_field((1, 8, 8)), "label": label_field()}


def packed(folder: Path, value: int, name: str = "set") -> Index:
    """A set of twelve grey images of one value in two shards."""
    store = FolderStore(folder, create=True)
    image = encode_png(np.full((8, 8), value, np.uint8))
    shards = tuple(
        write_shard(store, f"train-{n:06d}.tar", FIELDS, ({"__key__": f"{n}-{i}", "png": image, "cls": b"1"} for i in range(6)))
        for n in range(2)
    )
    index = Index(name, FIELDS, ("0", "1"), "", "", {"train": shards})
    write_index(store, index)
    return index


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change an index, and its own digest with it, as a stranger would."""
    path = folder / INDEX_KEY
    content = json.loads(path.read_text())
    change(content)
    splits = {
        split: [(s.get("name"), s.get("sha256"), s.get("count"), s.get("table_sha256")) for s in shards]
        for split, shards in sorted(content["splits"].items())
    }
    fields = [
        (name, f["kind"], f["members"], f["shape"], f["is_plain"], sorted(f["words"].items()))
        for name, f in content["fields"].items()
    ]
    content["digest"] = hashlib.sha256(json.dumps({"fields": fields, "splits": splits}).encode()).hexdigest()
    path.write_text(json.dumps(content))


def first_images(folder: Path, cache: Path | None = None) -> torch.Tensor:
    with SampleStream(
        str(folder), "train", batch=4, lanes=2, window=2, seed=0, cache=open_cache(str(cache) if cache else None, 1.0)
    ) as stream:
        return next(stream)["image"]


@contextmanager
def at_most_mb(limit: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak:.0f} MB"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: s.update(sha256="../../../../etc/cron.d/x"), "sha256"),
        (lambda s: s.update(name="../outside.tar"), "name"),
        (lambda s: s.update(name="/etc/passwd.tar"), "name"),
        (lambda s: s.update(name="a/../../b.tar"), "name"),
        (lambda s: s.update(name="a\x1b[2J.tar"), "name"),
        (lambda s: s.update(bytes=-1), "bytes"),
        (lambda s: s.update(count=10**30), "count"),
        (lambda s: s.update(count="6"), "count"),
        (lambda s: s.pop("table_sha256"), "table_sha256"),
    ],
)
def test_a_shard_that_no_packing_writes_is_refused_by_its_field(
    change: Callable[[dict[str, Any]], Any], field: str, tmp_path: Path
) -> None:
    packed(tmp_path, 7)
    rewritten(tmp_path, lambda content: change(content["splits"]["train"][0]))
    with pytest.raises(DataError, match=rf"index\.json.*{field}|index\.json: Invalid JSON"):
        read_index(FolderStore(tmp_path))


@pytest.mark.parametrize("shape", [[3, 60_000, 60_000], [1, -8, 8], [5, 8, 8], [8, 8], [10**30, 1, 1]])
def test_an_image_of_a_shape_that_takes_all_memory_is_refused(shape: list[int], tmp_path: Path) -> None:
    packed(tmp_path, 7)
    rewritten(tmp_path, lambda content: content["fields"]["image"].update(shape=shape))
    with pytest.raises(DataError, match=r"image|Invalid JSON"):
        read_index(FolderStore(tmp_path))


def test_inspecting_images_that_are_not_what_the_index_says_takes_little_memory(tmp_path: Path) -> None:
    """The digest covers shapes, so the stranger has written it anew; each image of the sheet is crossed out."""
    packed(tmp_path / "set", 7)
    rewritten(tmp_path / "set", lambda content: content["fields"]["image"].update(shape=[3, 4000, 4000]))
    lines: list[str] = []
    with at_most_mb(110):
        assert inspect_set(str(tmp_path / "set"), tmp_path / "sheet.png", True, lines.append) == 0
    assert sum("crossed out" in line for line in lines) == 6
    assert any("(1, 8, 8), the index says (3, 4000, 4000)" in line for line in lines)


def test_inspecting_a_set_of_one_enormous_sample_reads_little_of_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "set", create=True)
    image = encode_png(np.full((8, 8), 7, np.uint8))
    samples = [{"__key__": "0", "png": image + bytes(40 << 20), "cls": b"1"}, {"__key__": "1", "png": image, "cls": b"1"}]
    shard = write_shard(store, "train-000000.tar", FIELDS, samples)
    write_index(store, Index("set", FIELDS, ("0", "1"), "", "", {"train": (shard,)}))
    lines: list[str] = []
    with at_most_mb(60):
        assert inspect_set(store.url, tmp_path / "sheet.png", True, lines.append) == 0
    assert any("1 of 1 samples that were looked at" in line for line in lines)


def test_a_set_that_claims_anothers_hashes_puts_nothing_into_its_cache(tmp_path: Path) -> None:
    """The forger's shards have other images of the same sizes; the victim's set is read after the forger's, on one node."""
    victim, forger, cache = tmp_path / "victim", tmp_path / "forger", tmp_path / "cache"
    theirs, mine = packed(victim, 7), packed(forger, 200)
    shards = [
        dataclasses.replace(m, sha256=t.sha256) for m, t in zip(mine.splits["train"], theirs.splits["train"], strict=True)
    ]
    write_index(FolderStore(forger), dataclasses.replace(mine, splits={"train": tuple(shards)}))
    assert (first_images(forger, cache) == 200).all()
    assert (first_images(victim, cache) == 7).all()


def test_an_exchanged_image_of_the_same_checksum_is_found_out(tmp_path: Path) -> None:
    """The shard is exchanged under an index that stays as it is, with bytes of the same CRC32."""
    index = packed(tmp_path, 7)
    shard = index.splits["train"][0]
    path = tmp_path / shard.name
    content = bytearray(path.read_bytes())
    where = content.index(b"IDAT") + 6
    before = zlib.crc32(content)
    content[where] ^= 1
    content[-4:] = forged_end(bytes(content), before)
    assert zlib.crc32(content) == before
    path.write_bytes(content)
    with pytest.raises(DataError, match="checksum"):
        list(read_split(str(tmp_path), "train", 4))


def forged_end(content: bytes, crc: int) -> bytes:
    """Four last bytes that give the content a CRC32: the linear equations of its 32 bits, solved."""
    start = zlib.crc32(content[:-4])
    base = zlib.crc32(bytes(4), start)
    columns = [zlib.crc32((1 << bit).to_bytes(4, "little"), start) ^ base for bit in range(32)]
    rows = [(column, 1 << bit) for bit, column in enumerate(columns)]
    solution, target = 0, crc ^ base
    for bit in reversed(range(32)):
        pivot = next((row for row in rows if row[0] >> bit & 1), None)
        if pivot is None:
            continue
        rows = [(r[0] ^ pivot[0], r[1] ^ pivot[1]) if r[0] >> bit & 1 else r for r in rows if r is not pivot]
        if target >> bit & 1:
            target, solution = target ^ pivot[0], solution ^ pivot[1]
    assert not target
    return solution.to_bytes(4, "little")


def test_the_digest_of_a_set_says_what_its_tables_say(tmp_path: Path) -> None:
    """Whoever exchanges a sample and its table with it changes the digest, which runs record."""
    index = packed(tmp_path, 7)
    shard = index.splits["train"][0]
    forged = packed(tmp_path / "forged", 200).splits["train"][0]
    assert forged.table_sha256 != shard.table_sha256
    other = dataclasses.replace(shard, table_sha256=forged.table_sha256)
    assert dataclasses.replace(index, splits={"train": (other, *index.splits["train"][1:])}).digest != index.digest


def test_a_table_that_leads_out_of_its_shard_is_refused(tmp_path: Path) -> None:
    index = packed(tmp_path, 7)
    shard = index.splits["train"][0]
    rows = np.load(tmp_path / shard.table_key)
    for field, value in (("offset", 1 << 40), ("size", 1 << 31)):
        hostile = rows.copy()
        hostile[field][-1] = value
        buffer = io.BytesIO()
        np.save(buffer, hostile)
        (tmp_path / shard.table_key).write_bytes(buffer.getvalue())
        forged = dataclasses.replace(shard, table_sha256=hashlib.sha256(buffer.getvalue()).hexdigest())
        write_index(FolderStore(tmp_path), dataclasses.replace(index, splits={"train": (forged, index.splits["train"][1])}))
        with pytest.raises(DataError, match="its places are not those of samples"):
            first_images(tmp_path)


def bomb(side: int, mode: str = "L", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "1"])
def test_an_image_larger_than_the_set_allows_is_not_decoded(kind: str, mode: str) -> None:
    if (kind, mode) in {("PNG", "CMYK"), ("JPEG", "P"), ("JPEG", "1")}:
        pytest.skip("this format has no such mode")
    content = bomb(6000, mode, kind)
    with at_most_mb(5), pytest.raises(ValueError, match="6000"):
        decode_image(content, np.empty((8, 8, 3), np.uint8))


def array_header(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "members",
    [
        [bomb(6000), b"1", encode_array(np.zeros(3))],
        [None, b"9" * 5000, encode_array(np.zeros(3))],
        [None, b"9" * 30, encode_array(np.zeros(3))],
        [None, b"1", array_header("(100000, 100000)")],
        [None, b"1", array_header("(3,)") + b"x"],
        [None, b"1", array_header("__import__('os')")],
        [None, b"1", b"\x93NUMPY\x09\x09"],
        [None, b"1", array_header("(" * 90)],
        [b"\xff\xd8\xff", b"1", encode_array(np.zeros(3))],
        [b"\x89PNG\r\n\x1a\n" + b"\xff" * 40, b"1", encode_array(np.zeros(3))],
    ],
)
def test_a_sample_that_cannot_be_decoded_is_counted_whatever_it_raises(members: list[bytes | None]) -> None:
    fields = {**FIELDS, "pose": dataclasses.replace(FIELDS["label"], kind="array", members=("npy",), shape=(3,))}
    decoder = BatchDecoder(fields)
    content: list[bytes | None] = [encode_png(np.zeros((8, 8), np.uint8)) if m is None else m for m in members]
    arrays = decoder.allocate(1)
    with at_most_mb(20):
        assert list(decoder.decode(block_of(content), 0, 1, arrays, 0)) == [0]


def test_links_in_a_set_are_not_followed(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "set"
    secret.write_text("key")
    index = packed(folder, 7)
    shard = index.splits["train"][0]
    (folder / shard.name).unlink()
    (folder / shard.name).symlink_to(secret)
    with pytest.raises(DataError, match="is a link"):
        FolderStore(folder).get(shard.name)
    with pytest.raises(DataError, match="is a link"):
        FolderStore(folder).put(shard.name, b"overwritten")
    assert secret.read_text() == "key"


def test_links_out_of_a_source_folder_are_left_out_and_named(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside.png"
    source.mkdir()
    outside.write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    for i in range(3):
        (source / f"{i}.png").write_bytes(outside.read_bytes())
    (source / "stolen.png").symlink_to(outside)
    (source / "inside.png").symlink_to(source / "0.png")
    files = open_files(source)
    assert "stolen.png" not in files.names
    assert "inside.png" in files.names
    assert (
        "1 links that lead out of the source (--follow-links takes them in), such as stolen.png"
        in read_folder(source, "set").left_out
    )


def test_an_archive_that_unpacks_to_a_bomb_is_an_unusable_sample(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.png", "w") as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
        archive.writestr("good.png", encode_png(np.zeros((8, 8), np.uint8)))
    files = open_files(path)
    with at_most_mb(5), pytest.raises(UnusableSampleError, match=r"bomb.png: has 314,572,800 bytes"):
        files.read("bomb.png")
    assert files.read("good.png")


@pytest.mark.parametrize("key", ["/etc/passwd", "../up", "a/../../b", "a//b", ""])
def test_a_sample_whose_key_leads_elsewhere_is_not_packed(key: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    sample = {"__key__": key, "png": encode_png(np.zeros((8, 8), np.uint8)), "cls": b"1"}
    with pytest.raises(DataError, match="the key of a sample"):
        write_shard(store, "train-000000.tar", FIELDS, [sample])


def test_an_object_larger_than_documents_are_is_not_read(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    with (tmp_path / INDEX_KEY).open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with at_most_mb(5), pytest.raises(DataError, match="1,099,511,627,776 bytes"):
        read_index(store)
