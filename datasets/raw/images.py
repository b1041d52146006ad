"""Image files and arrays as a shard stores them: encoded, upright, opaque, of 8 bits, cut and resized."""

import io
import posixpath

import numpy as np
import simplejpeg
from PIL import Image, ImageColor

from unbraid.datasets.raw.collection import Files, UnusableSampleError
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.pixels import REDUCING_GAP, WHITE, Colour, Header, decode_upright, open_image, read_header, resized

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
JPEG_QUALITY = 95

Size = tuple[int, int]
"""(height, width)."""


def image_names(files: Files, left_out: Tally) -> list[str]:
    """Select the files whose names end as those of images do; count the others, and what ``files`` has left out."""
    left_out.update(files.left_out)
    images = []
    for name in files.names:
        suffix = posixpath.splitext(name)[1].lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(name)
        else:
            left_out.add(f"files with the suffix {suffix}" if suffix else "files without a suffix", name)
    return images


def encode_array(values: object) -> bytes:
    """Encode numbers as the content of an ``.npy`` file, float32."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def encode_png(pixels: object) -> bytes:
    """Encode (H, W) or (H, W, 3) uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def parse_colour(text: str) -> Colour:
    """Read a colour, as CSS writes it: ``white``, ``#ff8000``, ``rgb(255, 128, 0)``.

    Raises:
        ValueError: when it is none.
    """
    red, green, blue = ImageColor.getrgb(text)[:3]
    if max(red, green, blue) > 255:
        raise ValueError(f"{text!r} has a part above 255")
    return red, green, blue


def fit_image(
    content: bytes,
    where: str,
    size: Size | None,
    box: tuple[int, int, int, int] | None = None,
    half: int | None = None,
    background: Colour = WHITE,
) -> tuple[str, bytes]:
    """Make an image file as it is stored; a plain one that has the size already is returned unchanged.

    Args:
        where: the file, for messages.
        size: wanted; None keeps any.
        box: (left, top, right, bottom) to cut out of the upright image first.
        half: 0 or 1, to take the left or the right half of the upright image first.
        background: behind transparent pixels.

    Returns:
        Extension (``jpg`` or ``png``) and content. JPEG stays JPEG, all others become PNG.

    Raises:
        UnusableSampleError: when it is no image, or damaged.
    """
    try:
        header = read_header(content)
        if half is not None:
            middle = header.width // 2
            box = (half * middle, 0, (half + 1) * middle, header.height)
        if header.is_plain and box is None and size in (None, (header.height, header.width)):
            return ("png" if header.format == "PNG" else "jpg"), content
        return _fitted(content, header, size, box, background)
    except ValueError as error:
        raise UnusableSampleError(f"{where}: {error}") from None


def _fitted(
    content: bytes, header: Header, size: Size | None, box: tuple[int, int, int, int] | None, background: Colour
) -> tuple[str, bytes]:
    if size is not None and box is None:
        fitted = resized(content, header, size, background)
    else:
        with open_image(content) as image:
            fitted = decode_upright(image, background)
        if box is not None:
            fitted = fitted.crop(box)
        if size is not None and size != (fitted.height, fitted.width):
            fitted = fitted.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    if header.format == "JPEG":
        return "jpg", _encode_jpeg(fitted)
    return "png", encode_png(fitted)


def _encode_jpeg(image: Image.Image) -> bytes:
    pixels, colours = np.asarray(image), "GRAY" if image.mode == "L" else "RGB"
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1)),
        JPEG_QUALITY,
        colours,
        "Gray" if image.mode == "L" else "420",
    )
    return encoded
