"""Images of every kind that shards may hold, and those that they may not."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets.decoding import decode, decode_image
from datasets.errors import DataError
from datasets.index import Index


def encoded(mode: str, kind: str = "PNG") -> tuple[bytes, Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue(), image


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("P", 3), ("RGBA", 3)])
def test_png_of_every_mode_is_decoded_exactly(mode: str, channels: int) -> None:
    content, image = encoded(mode)
    pixels = decode_image(content)
    assert pixels.shape == (20, 30, channels)
    expected = np.asarray(image if channels == 1 else image.convert("RGB"))
    assert np.array_equal(pixels.squeeze(), expected)


def test_jpeg_is_decoded() -> None:
    content, _ = encoded("RGB", "JPEG")
    assert decode_image(content).shape == (20, 30, 3)


@pytest.mark.parametrize("damage", ["cut", "text", "gif"])
def test_what_is_no_whole_png_or_jpeg_is_refused_by_its_key(damage: str) -> None:
    content = {"cut": encoded("L")[0][:-40], "text": b"not an image", "gif": encoded("P", "GIF")[0]}[damage]
    with pytest.raises(DataError, match="the image of sample 007 cannot be decoded"):
        decode({"__key__": b"007", "png": content}, Index("set", None, (), "", ""), "url")


def test_a_sample_without_image_is_refused_by_its_key() -> None:
    with pytest.raises(DataError, match="sample 007 has no image; expected a member png, jpg"):
        decode({"__key__": b"007", "cls": b"1"}, Index("set", None, (), "", ""), "url")


def test_an_image_of_another_shape_than_the_index_says_is_refused() -> None:
    with pytest.raises(DataError, match=r"is \(1, 20, 30\), the index says \(1, 28, 28\)"):
        decode({"__key__": b"007", "png": encoded("L")[0]}, Index("set", (1, 28, 28), (), "", ""), "url")
