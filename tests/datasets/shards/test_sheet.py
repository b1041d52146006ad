"""The contact sheet: what it shows of a set, how large, and what it says under each image."""

import io
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import FIELDS
from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_array, encode_png
from unbraid.datasets.shards import sheet
from unbraid.datasets.shards.index import Field, Index, read_index, write_index
from unbraid.datasets.shards.inspect import inspect_set
from unbraid.datasets.shards.selection import look_around
from unbraid.datasets.shards.sheet import GROUND, draw_sheet, fitting_layout, sheet_file, shortened
from unbraid.datasets.shards.table import read_table
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.sources.keypoints import KEYPOINTS_FIELD
from unbraid.datasets.sources.source import image_field, label_field
from unbraid.datasets.store import FolderStore

Samples = list[dict[str, object]]
Pixels = NDArray[np.uint8]


def packed(folder: Path, fields: dict[str, Field], samples: dict[str, Samples], classes: tuple[str, ...] = ()) -> str:
    """A set of one shard a split."""
    store = FolderStore(folder, create=True)
    splits = {split: (write_shard(store, f"{split}.tar", fields, of_split),) for split, of_split in samples.items()}
    write_index(store, Index("set", fields, classes, "", "", splits))
    return store.url


def drawn(url: str, lines: list[str] | None = None) -> Pixels:
    """The sheet of a set, (H, W, 3)."""
    path = Path(url).parent / "sheet.png"
    assert inspect_set(url, path, False, (lines if lines is not None else []).append) == 0
    with Image.open(path) as image:
        return np.asarray(image)


def frame_of(url: str, number: int) -> tuple[slice, slice]:
    """Rows and columns of a frame of a sheet, its border included."""
    index = read_index(FolderStore(Path(url)))
    layout = fitting_layout(index, 1)
    left, top = layout.place(number)
    height, width = layout.frame
    return slice(top, top + height), slice(left, left + width)


def place_of(pixels: Pixels, part: Pixels) -> tuple[int, int] | None:
    """Row and column where an image is part of another one, pixel by pixel."""
    height, width = part.shape[:2]
    rows, columns = np.nonzero((pixels[: len(pixels) - height + 1, : pixels.shape[1] - width + 1] == part[0, 0]).all(2))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if (pixels[row : row + height, column : column + width] == part).all():
            return row, column
    return None


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_white_and_black_images_are_both_told_from_the_ground(tmp_path: Path) -> None:
    samples: Samples = [{"__key__": f"{value}", "png": encode_png(np.full((20, 20, 3), value, np.uint8))} for value in (0, 255)]
    url = packed(tmp_path / "set", {"image": image_field((3, 20, 20))}, {"train": samples})
    pixels = drawn(url)
    for number, value in enumerate((0, 255)):
        inside = pixels[frame_of(url, number)].astype(int)
        assert (inside[20:-20, 20:-20] == value).all()
        assert (inside[2, 2] == GROUND).all()
        assert np.abs(inside[20, 20] - inside[2, 2]).min() >= 80


def test_a_small_image_is_enlarged_without_blur(tmp_path: Path) -> None:
    image = noise(9, 7)
    url = packed(tmp_path / "set", {"image": image_field((3, 9, 7))}, {"train": [{"__key__": "0", "png": encode_png(image)}]})
    assert place_of(drawn(url), image.repeat(17, 0).repeat(17, 1)) is not None


@pytest.mark.parametrize(("height", "width"), [(500, 250), (250, 500), (1, 3000), (4000, 3)])
def test_a_large_image_is_shrunk_to_its_frame(tmp_path: Path, height: int, width: int) -> None:
    image = np.full((height, width, 3), (250, 10, 20), np.uint8)
    fields = {"image": Field("image", ("png",), (3, 0, 0))}
    url = packed(tmp_path / "set", fields, {"train": [{"__key__": "0", "png": encode_png(image)}]})
    red = np.nonzero((drawn(url)[frame_of(url, 0)] == (250, 10, 20)).all(2))
    found = tuple(int(places.max() - places.min() + 1) for places in red)
    assert found == tuple(max(1, side * 160 // max(height, width)) for side in (height, width))


def test_pairs_are_beside_each_other_in_one_frame(tmp_path: Path) -> None:
    fields = {name: Field("image", (f"{name}.png",), (3, 80, 80)) for name in ("x", "y")}
    pairs = [(noise(80, 80, 2 * i), noise(80, 80, 2 * i + 1)) for i in range(3)]
    samples: Samples = [{"__key__": f"{i}", "x.png": encode_png(x), "y.png": encode_png(y)} for i, (x, y) in enumerate(pairs)]
    url = packed(tmp_path / "set", fields, {"train": samples})
    pixels = drawn(url)
    for number, pair in enumerate(pairs):
        left, right = (place_of(pixels[frame_of(url, number)], image.repeat(2, 0).repeat(2, 1)) for image in pair)
        assert left is not None and right is not None
        assert left[0] == right[0]
        assert right[1] == left[1] + 160 + sheet.PADDING


def keypoints(places: Mapping[int, tuple[float, float, float]]) -> bytes:
    values = np.full((18, 3), (-1, -1, 0), np.float32)
    for number, place in places.items():
        values[number] = place
    return encode_array(values)


def test_keypoints_are_drawn_where_they_are(tmp_path: Path) -> None:
    fields = {"image": image_field((3, 128, 64)), "keypoints": KEYPOINTS_FIELD}
    image = encode_png(np.full((128, 64, 3), 90, np.uint8))
    members = {"png": image, "keypoints.npy": keypoints({4: (30, 20, 1), 7: (100, 50, 1), 0: (64, 5, 0)})}
    url = packed(tmp_path / "set", fields, {"train": [{"__key__": "0", **members}]})
    inside = drawn(url)[frame_of(url, 0)]
    left = (inside.shape[1] - 128) // 2
    for row, column, colour in ((30, 20, sheet.RIGHT_COLOUR), (100, 50, sheet.LEFT_COLOUR), (64, 5, (90, 90, 90))):
        assert tuple(inside[sheet.PADDING + 2 * row + 1, left + 2 * column + 1]) == colour


def test_limbs_connect_the_keypoints_that_are_seen(tmp_path: Path) -> None:
    fields = {"image": image_field((3, 128, 64)), "keypoints": KEYPOINTS_FIELD}
    image = encode_png(np.full((128, 64, 3), 90, np.uint8))
    members = {"png": image, "keypoints.npy": keypoints({8: (20, 30, 1), 9: (80, 30, 1), 10: (120, 30, 0)})}
    url = packed(tmp_path / "set", fields, {"train": [{"__key__": "0", **members}]})
    inside = drawn(url)[frame_of(url, 0)]
    column = (inside.shape[1] - 128) // 2 + 61
    assert tuple(inside[sheet.PADDING + 100, column]) == sheet.RIGHT_COLOUR
    assert tuple(inside[sheet.PADDING + 200, column]) == (90, 90, 90)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1e30, 127.9])
def test_keypoints_beyond_reason_are_not_drawn(tmp_path: Path, value: float) -> None:
    """Nor is the limb from one that is seen."""
    fields = {"image": image_field((3, 64, 64)), "keypoints": KEYPOINTS_FIELD}
    places = {3: (20, 20, 1), 4: (value, value, 1)}
    members = {"png": encode_png(np.full((64, 64, 3), 90, np.uint8)), "keypoints.npy": keypoints(places)}
    url = packed(tmp_path / "set", fields, {"train": [{"__key__": "0", **members}]})
    lines: list[str] = []
    changed = np.argwhere((drawn(url, lines)[frame_of(url, 0)][sheet.PADDING :] != 90).any(2))
    image = changed[(changed < (256, 256 + sheet.PADDING)).all(1) & (changed[:, 1] >= sheet.PADDING)]
    assert np.ptp(image, 0).max() <= 8
    assert not [line for line in lines if "crossed out" in line]


def labelled(count: int, classes: int, first: int = 0) -> Samples:
    image = encode_png(np.full((8, 8), 100, np.uint8))
    return [{"__key__": f"{i:06d}", "png": image, "cls": b"%d" % (i % classes)} for i in range(first, first + count)]


SMALL_FIELDS = {"image": image_field((1, 8, 8)), "label": label_field()}


@given(
    st.lists(
        st.one_of(st.just((3, 0, 0)), st.tuples(st.sampled_from([1, 3]), st.integers(1, 6000), st.integers(1, 6000))),
        min_size=1, max_size=64,
    ),
    st.integers(0, 5000),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_sheet_stays_within_its_pixels_and_frames_do_not_overlap(
    shapes: list[tuple[int, int, int]], classes: int, with_keypoints: bool
) -> None:
    fields = {f"f{i}": Field("image", (f"f{i}.png",), shape) for i, shape in enumerate(shapes)}
    if with_keypoints:
        fields["keypoints"] = KEYPOINTS_FIELD
    layout = fitting_layout(Index("set", fields | {"label": label_field()}, (), "", ""), classes)
    width, height = layout.size(layout.count)
    assert width <= layout.style.width <= 2400
    assert height <= layout.style.height <= 4000
    places = [layout.place(number) for number in range(layout.count)]
    frame_height, frame_width = layout.frame
    assert all(left >= 0 and left + frame_width <= width for left, _ in places)
    assert all(top >= layout.top and top + frame_height + layout.lines * layout.line <= height for _, top in places)
    lefts, tops = (sorted(set(values)) for values in zip(*places, strict=True))
    assert all(b - a > frame_width for a, b in pairwise(lefts))
    assert all(b - a > frame_height + layout.lines * layout.line for a, b in pairwise(tops))


@given(st.text(max_size=300), st.integers(20, 400), st.sampled_from([11, 13]))
@settings(max_examples=200, deadline=None)
def test_every_text_fits_its_line(text: str, width: int, size: int) -> None:
    shown = shortened(text, width, size)
    assert sheet._font(size).getlength(shown) <= width
    assert all(sheet._is_drawn(letter) for letter in shown.replace("…", ""))


def test_a_long_key_keeps_its_beginning_and_its_end() -> None:
    shown = shortened("train/n01440764/" + "x" * 200 + "_10026.JPEG", 120, 13)
    assert shown.startswith("train/")
    assert shown.endswith("26.JPEG")
    assert shown.count("…") == 1
    assert shortened("0042", 120, 13) == "0042"


def test_letters_that_the_font_lacks_and_control_characters_are_escapes() -> None:
    assert shortened("猫\x1b[2J", 400, 13) == "\\u732b\\x1b[2J"


@pytest.mark.parametrize("wanted", [("class", "cat"), ("split", "train"), ("key", "000001")])
def test_class_split_and_key_are_under_each_frame(tmp_path: Path, wanted: tuple[str, str]) -> None:
    """A sheet with one text exchanged differs in one line below the frame, and nowhere else."""
    name, text = wanted
    sheets = []
    for number, shown in enumerate((text, text[::-1])):
        split, key = (shown if name == "split" else "train"), (shown if name == "key" else "000001")
        sample: Samples = [{"__key__": key, "png": encode_png(np.zeros((8, 8), np.uint8)), "cls": b"0"}]
        classes = (shown if name == "class" else "cat",)
        url = packed(tmp_path / str(number) / "set", SMALL_FIELDS, {split: sample}, classes)
        sheets.append(drawn(url))
    rows, columns = (np.unique(places) for places in np.nonzero((sheets[0] != sheets[1]).any(2)))
    layout = fitting_layout(read_index(FolderStore(Path(url))), 1)
    left, top = layout.place(0)
    line = top + layout.frame[0] + ("class", "split", "key").index(name) * layout.line
    assert len(rows) and line <= rows.min() <= rows.max() < line + layout.line
    assert left <= columns.min() <= columns.max() < left + layout.frame[1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sheet.jpg", "name one that ends with .png"),
        ("sheet", "name one that ends with .png"),
        ("nowhere/sheet.png", "cannot be written (No such file or directory)"),
        ("folder.png", "is a folder"),
        ("file.png/sheet.png", "cannot be written (Not a directory)"),
        ("x" * 300 + ".png", "cannot be written (File name too long)"),
        pytest.param(
            "/sys/sheet.png", "cannot be written",
            marks=pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="no /sys, where nobody may write"),
        ),
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_written_is_an_error_before_anything_is_read(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        inspect_set(str(tmp_path / "no set"), tmp_path / path, True, lambda line: pytest.fail(line))
    assert message in str(raised.value)
    assert path in str(raised.value)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_sheet_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"earlier")
    lines: list[str] = []
    with pytest.raises(DataError, match="no field holds images"):
        inspect_set(
            packed(tmp_path / "set", {"label": label_field()}, {"train": [{"__key__": "0", "cls": b"1"}]}),
            path,
            True,
            lines.append,
        )
    with pytest.raises(RuntimeError), sheet_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"earlier"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["set", "sheet.png"]


def test_a_sheet_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with sheet_file(tmp_path / "sheet.PNG") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "sheet.PNG").stat().st_mode & 0o777 == 0o640


def test_damaged_samples_are_crossed_out_and_named(tmp_path: Path) -> None:
    samples = labelled(3, 3)
    samples[1] = samples[1] | {"png": b"\x89PNG\r\n\x1a\n, or rather not"}
    url = packed(tmp_path / "set", SMALL_FIELDS, {"train": samples}, ("a", "b", "c"))
    store = FolderStore(Path(url))
    index = read_index(store)
    offset = int(read_table(store, index.shards("train")[0], 2).offsets[2])
    content = bytearray((tmp_path / "set/train.tar").read_bytes())
    content[offset + 600] ^= 1
    (tmp_path / "set/train.tar").write_bytes(content)
    lines: list[str] = []
    pixels = drawn(url, lines)
    reasons = [line for line in lines if "crossed out" in line]
    assert len(reasons) == 2
    assert "train.tar: sample 1: its image cannot be drawn" in reasons[0]
    assert "sample 2: its image cannot be drawn (the checksum of the sample differs)" in reasons[1]
    red = [(pixels[frame_of(url, number)] == sheet.DAMAGED).all(2).any() for number in range(3)]
    assert red == [False, True, True]


def test_a_missing_shard_does_not_hide_the_others(tmp_path: Path) -> None:
    url = packed(tmp_path / "set", SMALL_FIELDS, {"train": labelled(4, 2), "test": labelled(4, 2)})
    (tmp_path / "set/train.tar").unlink()
    lines: list[str] = []
    drawn(url, lines)
    assert any("could not be looked at" in line and "train.tar: no such file" in line for line in lines)
    assert any("4 of 4 samples" in line for line in lines)


def test_images_of_several_sizes_are_shown(tmp_path: Path) -> None:
    samples: Samples = [{"__key__": f"{s}", "png": encode_png(noise(s, 2 * s, s))} for s in (5, 40, 100)]
    url = packed(tmp_path / "set", {"image": Field("image", ("png",), (3, 0, 0))}, {"train": samples})
    lines: list[str] = []
    pixels = drawn(url, lines)
    assert "of several sizes, 5x10 to 100x200 pixels (height x width), 3 channels, in 3 that were looked at" in "\n".join(lines)
    assert place_of(pixels, noise(40, 80, 40).repeat(2, 0).repeat(2, 1)) is not None


def test_an_image_that_fills_all_memory_is_crossed_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    url = packed(
        tmp_path / "set",
        {"image": Field("image", ("png",), (3, 0, 0))},
        {"train": [{"__key__": "0", "png": buffer.getvalue()}]},
    )
    lines: list[str] = []
    drawn(url, lines)
    assert any("crossed out" in line and "cannot be drawn" in line for line in lines)


def test_the_sheet_of_digits_shows_each_of_them(digits_folder: Path) -> None:
    store = FolderStore(digits_folder)
    index = read_index(store)
    assert index.fields == FIELDS
    file = io.BytesIO()
    looks = look_around(store, index).looks
    found = draw_sheet(index, looks, file)
    assert found.samples == fitting_layout(index, 10).count > 100
    assert found.unreadable == []
    assert {look.split for look in looks} == {"train", "validation", "test"}
