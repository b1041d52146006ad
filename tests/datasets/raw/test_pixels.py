"""Pixels of image files in every mode and format, against arrays that were known before Pillow wrote the file."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from unbraid.datasets.raw.images import fit_image
from unbraid.datasets.shards.codec import decode_image
from unbraid.datasets.shards.pixels import Header, read_header, resized

HEIGHT, WIDTH = 24, 40
Pixels = NDArray[np.uint8]


def grey() -> Pixels:
    return np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)


def colour() -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def stored_pixels(content: bytes, background: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    """The pixels that training sees of a file: as packing stores it, decoded as the stream does."""
    _, stored = fit_image(content, "x", None, background=background)
    header = read_header(stored)
    assert header.is_plain
    out = np.zeros((header.height, header.width, header.channels), np.uint8)
    decode_image(stored, out)
    return out.squeeze()


def deep() -> tuple[bytes, Pixels]:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    return saved(Image.fromarray(values)), np.rint(values / 257).astype(np.uint8)


def deep_tiff() -> tuple[bytes, Pixels]:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    return saved(Image.fromarray(values), "TIFF"), np.rint(values / 257).astype(np.uint8)


def one_bit() -> tuple[bytes, Pixels]:
    bits = grey() > 100
    return saved(Image.fromarray(bits)), bits.astype(np.uint8) * 255


def palette() -> tuple[bytes, Pixels]:
    table = np.random.default_rng(2).integers(0, 256, (16, 3), dtype=np.uint8)
    numbers = np.random.default_rng(3).integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint8)
    image = Image.fromarray(numbers).convert("P")
    image.putdata(numbers.ravel().tolist())
    image.putpalette(table.ravel().tolist())
    return saved(image), table[numbers]


def alpha() -> tuple[bytes, Pixels]:
    opaque, share = colour(), np.tile(np.array([0, 255, 128, 64], np.uint8), (HEIGHT, WIDTH // 4))
    composed = opaque * (share / 255)[:, :, None] + 255 * (1 - share / 255)[:, :, None]
    return saved(Image.fromarray(np.dstack([opaque, share]))), np.rint(composed).astype(np.uint8)


def grey_alpha() -> tuple[bytes, Pixels]:
    share = np.where(np.arange(WIDTH) % 2, 255, 0).astype(np.uint8) * np.ones((HEIGHT, 1), np.uint8)
    image = Image.merge("LA", [Image.fromarray(grey()), Image.fromarray(share)])
    return saved(image), np.where(share == 0, 255, grey()).astype(np.uint8)


def transparent_colour() -> tuple[bytes, Pixels]:
    pixels = colour()
    pixels[:5] = (10, 20, 30)
    expected = pixels.copy()
    expected[(pixels == (10, 20, 30)).all(2)] = 255
    return saved(Image.fromarray(pixels), transparency=(10, 20, 30)), expected


def webp() -> tuple[bytes, Pixels]:
    return saved(Image.fromarray(colour()), "WEBP", lossless=True), colour()


def bmp() -> tuple[bytes, Pixels]:
    return saved(Image.fromarray(colour()), "BMP"), colour()


def animation() -> tuple[bytes, Pixels]:
    frames = [Image.fromarray(np.full((HEIGHT, WIDTH), shade, np.uint8)) for shade in (40, 200)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), np.full((HEIGHT, WIDTH), 40, np.uint8)


def pages() -> tuple[bytes, Pixels]:
    return saved(Image.fromarray(colour()), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]), colour()


def portable() -> tuple[bytes, Pixels]:
    return saved(Image.fromarray(colour()), "PPM"), colour()


LOSSLESS = (deep, deep_tiff, one_bit, palette, alpha, grey_alpha, transparent_colour, webp, bmp, animation, pages, portable)


@pytest.mark.parametrize("make", LOSSLESS, ids=lambda make: make.__name__)
def test_every_mode_and_format_gives_the_pixels_that_were_written(make: Callable[[], tuple[bytes, Pixels]]) -> None:
    content, expected = make()
    found = stored_pixels(content)
    if found.ndim == 3 and expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (1 if make in (alpha,) else 0)


def test_an_interlaced_png_is_read_as_any_other() -> None:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels, rows = grey(), b""
    for top, left, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        rows += b"".join(b"\0" + bytes(row) for row in pixels[top::down, left::right])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 1))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(stored_pixels(content), pixels)


def test_cmyk_as_printers_write_it_keeps_its_colours() -> None:
    flat = np.full((HEIGHT, WIDTH, 3), (200, 30, 60), np.uint8)
    content = saved(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=95)
    assert read_header(content).mode == "CMYK"
    assert np.abs(stored_pixels(content).astype(int) - flat).max() <= 6


def test_what_lies_behind_transparent_pixels_is_the_background() -> None:
    hidden = np.dstack([colour(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert (stored_pixels(saved(Image.fromarray(hidden)), background=(0, 128, 255)) == (0, 128, 255)).all()
    grey_hidden = Image.merge("LA", [Image.fromarray(grey()), Image.new("L", (WIDTH, HEIGHT), 0)])
    assert (stored_pixels(saved(grey_hidden), background=(0, 128, 255)) == (0, 128, 255)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    upright = np.kron(np.random.default_rng(5).integers(0, 256, (3, 5, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    undo: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.fromarray(np.ascontiguousarray(undo[orientation](upright))), kind, exif=exif, **options)
    header = read_header(content)
    assert (header.height, header.width, header.orientation) == (48, 80, orientation)
    found = stored_pixels(content).astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright).mean() < (4 if kind == "JPEG" else 0.01)


def test_pixels_whose_range_nobody_knows_are_refused() -> None:
    for values in (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32)):
        with pytest.raises(ValueError, match=r"32 bits .* whose range is unknown; convert it to 8 or 16 bits"):
            read_header(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_header_of_a_jpeg_is_the_same_by_both_readers(mode: str) -> None:
    plain = saved(Image.fromarray(colour()).convert(mode), "JPEG")
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "camera"
    assert read_header(plain) == read_header(saved(Image.fromarray(colour()).convert(mode), "JPEG", exif=exif))
    assert read_header(plain) == Header("JPEG", mode, HEIGHT, WIDTH)


def test_a_resized_photograph_is_that_of_a_full_decoding() -> None:
    smooth = Image.fromarray(colour()).resize((1600, 1200), Image.Resampling.BICUBIC)
    content = saved(smooth, "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.resize((64, 48), Image.Resampling.LANCZOS), int)
    found = np.asarray(resized(content, read_header(content), (48, 64)), int)
    assert np.abs(found - expected).mean() < 2
