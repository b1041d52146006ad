"""Decoding: images of every kind that shards may hold, refused ones, and the other fields."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unbraid.datasets.raw.images import encode_array
from unbraid.datasets.shards.codec import decode_image, image_shape
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.table import ABSENT
from unbraid.datasets.sources.source import image_field, label_field
from unbraid.datasets.stream.decode import BatchDecoder
from unbraid.datasets.stream.read import Block

HEIGHT, WIDTH = 20, 30


def encoded(mode: str, kind: str = "PNG") -> tuple[bytes, Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue(), image


def decoded(content: bytes, channels: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    out = np.zeros((height, width, channels), np.uint8)
    decode_image(memoryview(content), out)
    return out


def block_of(members: list[bytes | None]) -> Block:
    """One sample with these members, as the reader returns it."""
    content = b"".join(m or b"" for m in members)
    lengths = [ABSENT if m is None else len(m) for m in members]
    begins = np.cumsum([0, *(len(m or b"") for m in members)])[:-1]
    table = np.stack([begins, lengths], axis=1)[None].astype(np.int64)
    return Block([memoryview(content)], np.zeros(1, np.int64), table, np.zeros((1, 2), np.int64), np.zeros(1, bool))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("P", 3), ("RGBA", 3)])
def test_png_of_every_mode_is_decoded_exactly(mode: str, channels: int) -> None:
    content, image = encoded(mode)
    opaque = image.convert("RGBA") if image.has_transparency_data else image
    if opaque.mode == "RGBA":
        opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque)
    expected = np.asarray(opaque if channels == 1 else opaque.convert("RGB"))
    assert np.array_equal(decoded(content, channels).squeeze(), expected)
    assert image_shape(content) == (channels, HEIGHT, WIDTH)


@pytest.mark.parametrize(("mode", "channels", "tolerance"), [("L", 1, 0), ("RGB", 3, 0), ("CMYK", 3, 1)])
def test_jpeg_of_every_mode_gives_the_pixels_that_pillow_gives(mode: str, channels: int, tolerance: int) -> None:
    content, _ = encoded(mode, "JPEG")
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image if channels == 1 else image.convert("RGB")).astype(int)
    assert np.abs(decoded(content, channels).squeeze() - expected).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_is_decoded_into_colour_but_not_colour_into_grey(kind: str) -> None:
    grey, _ = encoded("L", kind)
    shown = decoded(grey, 3)
    assert np.array_equal(shown[..., 0], shown[..., 2])
    with pytest.raises(ValueError, match=r"it is \(3, 20, 30\), the index says \(1, 20, 30\)"):
        decoded(encoded("RGB", kind)[0], 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(10, 15), (40, 60), (30, 20)])
def test_an_image_of_another_size_is_refused(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"it is \(3, 20, 30\), the index says"):
        decoded(encoded("RGB", kind)[0], 3, *size)


@pytest.mark.parametrize("damage", ["cut png", "cut jpeg", "text", "gif", "nothing"])
def test_content_that_is_not_a_complete_png_or_jpeg_is_refused(damage: str) -> None:
    content = {
        "cut png": encoded("L")[0][:-40],
        "cut jpeg": encoded("L", "JPEG")[0][:-40],
        "text": b"not an image",
        "gif": encoded("P", "GIF")[0],
        "nothing": b"",
    }[damage]
    with pytest.raises(ValueError):
        decoded(content, 1)


def test_every_kind_of_field_is_decoded_to_its_row() -> None:
    fields = {"image": image_field((3, HEIGHT, WIDTH)), "label": label_field(), "pose": Field("array", ("pose.npy",), (2, 3))}
    decoder = BatchDecoder(fields)
    arrays = decoder.allocate(4)
    pose = np.arange(6).reshape(2, 3) / 4
    assert not decoder.decode(block_of([encoded("RGB")[0], b"7", encode_array(pose)]), 0, 1, arrays, 2)
    tensors = decoder.tensors(arrays)
    assert tensors["image"].shape == (4, 3, HEIGHT, WIDTH)
    assert np.array_equal(tensors["image"][2].permute(1, 2, 0).numpy(), np.asarray(encoded("RGB")[1]))
    assert tensors["label"][2].item() == 7
    assert np.array_equal(tensors["pose"][2].numpy(), pose)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([None, b"1"], "it has no png or jpg for the field 'image'"),
        ([b"GIF89a", b"1"], "its image cannot be decoded"),
        ([b"ok", b"seven"], "its label cannot be decoded"),
    ],
)
def test_a_sample_that_does_not_fit_the_index_is_reported_by_row(members: list[bytes | None], message: str) -> None:
    decoder = BatchDecoder({"image": image_field((1, HEIGHT, WIDTH)), "label": label_field()})
    content = [encoded("L")[0] if m == b"ok" else m for m in members]
    unusable = decoder.decode(block_of(content), 0, 1, decoder.allocate(2), 1)
    assert list(unusable) == [1]
    assert message in unusable[1]


def test_images_of_several_sizes_make_no_batch() -> None:
    with pytest.raises(ValueError, match=r"of several sizes and make no batch: resize them .* data.fit"):
        BatchDecoder({"image": image_field((3, 0, 0))})
