"""Packing images that are damaged in any way: whatever is packed, the stream decodes; all else is one clear reason."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.datasets.packing.damaged_images import (
    DAMAGES,
    PNG_SIGNATURE,
    SIZES,
    WRITERS,
    chunk,
    damaged_image,
    picture,
    write_damaged,
)
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.shards.codec import decoder_of, require_decodable, stored_shape
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.pixels import read_header
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.sources.pairs import read_pairs
from unbraid.datasets.sources.source import image_field
from unbraid.datasets.store import FolderStore
from unbraid.datasets.stream.stream import read_split

FILES = 16
FIT = (16, 16)
MOST_MB = 400
"""Two threads decode at a time; an image whose header says 5000 x 5000 has 75 MB."""
QUIET = f"""
import resource, sys
from pathlib import Path
from random import Random
from tests.datasets.packing.damaged_images import write_damaged
from tests.datasets.packing.test_fuzz import FILES, pack_and_read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for seed in range(20):
    raw = write_damaged(Path(sys.argv[1]) / str(seed), Random(seed), "folder", FILES)
    pack_and_read(raw, Path(sys.argv[1]) / f"out-{{seed}}", None)
taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
if taken > {MOST_MB}:
    print(f"took {{taken}} MB")
"""

# pytest sets aside the filter of unbraid's own; the test in a process of its own has it
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")


def pack_and_read(source: Path, destination: Path, size: tuple[int, int] | None) -> tuple[int, int]:
    """Pack all images that can be used, and read them as training does; return how many were packed, and how many read."""
    try:
        opened = read_folder(source, "fuzz", size=size, any_size=True, test_share=0)
    except DataError as error:
        assert f"none of {FILES} images can be read" in str(error)
        return 0, 0
    store = FolderStore(destination, create=True)
    index = pack(opened, store, lambda text: None, shards=1, threads=2, max_skipped=FILES)
    packed = sum(shard.count for shards in index.splits.values() for shard in shards)
    fit = FIT if index.fields["image"].has_several_sizes else None
    return packed, sum(len(batch["image"]) for batch in read_split(store.url, "train", 5, fit=fit)) if packed else 0


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_whatever_is_packed_is_decoded(kind: str, tmp_path: Path) -> None:
    accepted = 0

    @given(seed=st.integers(0, 2**32), size=st.sampled_from([None, FIT]))
    @settings(
        max_examples=25, phases=[Phase.generate], derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )
    def check(seed: int, size: tuple[int, int] | None) -> None:
        nonlocal accepted
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        packed, read = pack_and_read(write_damaged(place, Random(seed), kind, FILES), place / "out", size)
        assert packed == read
        accepted += packed

    check()
    assert accepted > 20


def jpeg_checks(seeds: range) -> tuple[int, int]:
    """Compare the check of damaged JPEGs with decoding them in full; return how many are whole, and how many are not."""
    writers = [write for suffix, write in WRITERS if suffix.lower() in (".jpg", ".jpeg")]
    counts = [0, 0]
    for seed in seeds:
        random = Random(seed)
        content = random.choice(writers)(picture(*random.choice(SIZES), random), random)
        for _ in range(random.randint(1, 2)):
            content = random.choice(DAMAGES)(content, random)
        try:
            header = read_header(content)
        except ValueError:
            continue
        if content[:2] != b"\xff\xd8" or not header.is_plain or header.height * header.width > 1 << 20:
            continue
        field = image_field((3, header.height, header.width))
        outcomes = []
        for check in (require_decodable, decode_in_full):
            try:
                check(content, field)
                outcomes.append(True)
            except ValueError:
                outcomes.append(False)
        assert outcomes[0] == outcomes[1], seed
        counts[not outcomes[0]] += 1
    return counts[0], counts[1]


def decode_in_full(content: bytes, field: Field) -> None:
    decoder_of(field)(content, np.empty((1, *stored_shape(field)), np.uint8))


def test_the_check_of_a_jpeg_agrees_with_decoding_it_in_full() -> None:
    whole, damaged = jpeg_checks(range(3000))
    assert whole > 200
    assert damaged > 500


def test_what_one_decoder_forgives_is_not_packed_where_another_reads_it(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(24, 32, Random(0)).save(buffer, "PNG")
    header, rest = buffer.getvalue()[:33], buffer.getvalue()[33:]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/0.png").write_bytes(header + chunk(b"fcTL", b"short") + rest)
    Image.new("RGB", (8, 8)).save(tmp_path / "raw/1.png")
    for size in (None, FIT):
        store = FolderStore(tmp_path / f"out-{size}", create=True)
        index = pack(
            read_folder(tmp_path / "raw", "one", size=size, any_size=True, test_share=0),
            store,
            lambda text: None,
            max_skipped=1,
        )
        count = sum(shard.count for shard in index.shards("train"))
        for fit in [FIT, (8, 8)] + ([None] if size else []):
            assert sum(len(batch["image"]) for batch in read_split(store.url, "train", 1, fit=fit)) == count


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pairs_of_damaged_images_are_decoded(kind: str, tmp_path: Path) -> None:
    for seed in range(6):
        random = Random(seed)
        files = {
            f"{side}/{number}{suffix}": content
            for number in range(FILES)
            for side in "AB"
            for suffix, content in [damaged_image(random)]
        }
        source, store = tmp_path / f"{seed}.{kind}", FolderStore(tmp_path / f"out-{seed}", create=True)
        if kind == "zip":
            with zipfile.ZipFile(source, "w") as zipped:
                for name, content in files.items():
                    zipped.writestr(name, content)
        else:
            for name, content in files.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(content)
        opened = read_pairs(source, "fuzz", size=FIT, test_share=0)
        packed = pack(opened, store, lambda text: None, max_skipped=2 * FILES).shards("train")
        batches = list(read_split(store.url, "train", 5))
        assert sum(len(batch["x"]) for batch in batches) == sum(shard.count for shard in packed) > 0


def test_damaged_images_print_nothing_and_take_little_memory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", QUIET, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("number", range(len(WRITERS)))
def test_every_kind_of_whole_image_is_packed_or_refused_for_its_range(number: int, tmp_path: Path) -> None:
    suffix, write = WRITERS[number]
    random = Random(number)
    (tmp_path / "raw").mkdir()
    (tmp_path / f"raw/0{suffix}").write_bytes(write(picture(24, 32, random), random))
    try:
        opened = read_folder(tmp_path / "raw", "whole", test_share=0)
    except DataError as error:
        assert "whose range is unknown" in str(error)
        return
    pack(opened, FolderStore(tmp_path / "out", create=True), lambda text: None)
    (batch,) = read_split(str(tmp_path / "out"), "train", 1)
    assert batch["image"].shape in ((1, 3, 24, 32), (1, 1, 24, 32), (1, 3, 32, 24))


def huge_png() -> bytes:
    """A PNG of 1 bit whose pixels are there: 30000 x 30000 in 100 KB."""
    packer, rows = zlib.compressobj(9), b""
    for _ in range(30):
        rows += packer.compress(bytes(1000 * 3751))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0))
    return PNG_SIGNATURE + header + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")


def lying_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    at = whole.index(b"\xff\xc0") + 5
    return whole[:at] + b"\xff\xdc\xff\xdc" + whole[at + 4 :]


@pytest.mark.parametrize("make", [huge_png, lying_jpeg], ids=["png", "jpeg"])
def test_a_huge_image_is_one_message(make: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/huge.image.png").write_bytes(make())
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "raw/small.png")
    opened = read_folder(tmp_path / "raw", "huge", test_share=0)
    with pytest.raises(DataError, match=r"huge\.image\.png: it has .*pixels.*67,108,864.*--max-skipped") as caught:
        pack(opened, FolderStore(tmp_path / "out", create=True), lambda text: None)
    assert "\n" not in str(caught.value)
