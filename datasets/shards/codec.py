"""Decodes images into arrays. Every decoder is named, so that nothing is ever unpickled."""

import io
import struct

import kornia_rs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG")
_JPEG_SIGNATURE = b"\xff\xd8"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {0: "mono", 2: "rgb"}
"""PNG's colour types that kornia_rs decodes as they are; Pillow decodes palettes and transparency."""


def decode_image(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    """Decode PNG or JPEG into ``out``, (H, W, 1 or 3) uint8.

    JPEG by libjpeg-turbo (simplejpeg: it releases the interpreter lock and writes in place), plain PNG by kornia_rs, the
    rest by Pillow; all give the same pixels.

    Raises:
        ValueError: when the content is neither, is damaged, or has another size.
    """
    if encoded[:2] == _JPEG_SIGNATURE:
        _decode_jpeg(encoded, out)
    else:
        pixels = _decode_png(bytes(encoded))
        _check_shape(pixels.shape, out)
        out[...] = pixels


def image_shape(encoded: bytes) -> tuple[int, int, int]:
    """Return (channels, height, width) of the array that :func:`decode_image` needs.

    Raises:
        ValueError: when the content is neither PNG nor JPEG.
    """
    with _opened(encoded) as image:
        return (1 if image.mode == "L" else 3, image.height, image.width)


def _decode_jpeg(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    # an image of another size, or of a kind that libjpeg-turbo does not convert, is left to Pillow and its messages
    try:
        pixels = simplejpeg.decode_jpeg(encoded, "GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
        if pixels.shape == out.shape and (out.shape[2] == 3 or image_channels(encoded) == 1):
            return
    except ValueError:
        pass
    with _opened(bytes(encoded)) as image:
        slow = _pixels(image)
    _check_shape(slow.shape, out)
    out[...] = slow


def image_channels(encoded: memoryview | bytes) -> int:
    """Return the channels of a JPEG, 1 or 3."""
    return 1 if simplejpeg.decode_jpeg_header(encoded)[2] == "Gray" else 3


def _decode_png(encoded: bytes) -> NDArray[np.uint8]:
    if encoded.startswith(_PNG_SIGNATURE) and len(encoded) > 26:
        width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
        if depth == 8 and colour in _PNG_MODES:
            try:
                pixels: NDArray[np.uint8] = kornia_rs.io.decode_image_png_u8(encoded, (height, width), _PNG_MODES[colour])
            except Exception as error:  # kornia_rs raises nothing narrower
                raise ValueError(error) from None
            return pixels
    with _opened(encoded) as image:
        return _pixels(image)


def _opened(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=FORMATS)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(error) from None


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    try:
        pixels = np.array(image if image.mode == "L" else image.convert("RGB"))
    except OSError as error:
        raise ValueError(error) from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _check_shape(shape: tuple[int, ...], out: NDArray[np.generic]) -> None:
    if shape[:2] != out.shape[:2] or shape[2] not in (1, out.shape[2]):  # grey fits into colour, colour does not fit into grey
        found, expected = ((s[2], s[0], s[1]) for s in (shape, out.shape))
        raise ValueError(f"it is {found}, the index says {expected}")
