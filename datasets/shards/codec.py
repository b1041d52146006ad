"""Decodes images into arrays, and numbers. Every decoder is named, so that nothing is ever unpickled."""

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


LONGEST_INTEGER = 20
"""Characters: as many as an int64 has."""
LARGEST_IMAGE = 1 << 26
"""Pixels of the largest image whose size is taken from its own header."""


def decode_image(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    """Decode PNG or JPEG into ``out``, (H, W, 1 or 3) uint8.

    JPEG by libjpeg-turbo (simplejpeg: it releases the interpreter lock and writes in place), plain PNG by kornia_rs, the
    rest by Pillow; all give the same pixels. Nothing is decoded before the size in the header has been compared with ``out``:
    a small file can hold an image that fills all memory.

    Raises:
        ValueError: when the content is neither, is damaged, or has another size.
    """
    if encoded[:2] == _JPEG_SIGNATURE:
        _decode_jpeg(encoded, out)
    else:
        _decode_png(bytes(encoded), out)


def decode_integer(encoded: memoryview | bytes) -> int:
    """Decode a number that is written as decimal text.

    Raises:
        ValueError: when the content is none, or is longer than numbers are.
    """
    if len(encoded) > LONGEST_INTEGER:
        raise ValueError(f"a number of {len(encoded)} digits")
    return int(bytes(encoded))


def image_shape(encoded: bytes) -> tuple[int, int, int]:
    """Return (channels, height, width) of the array that :func:`decode_image` needs.

    Raises:
        ValueError: when the content is neither PNG nor JPEG, or has more pixels than are read.
    """
    with _opened(encoded) as image:
        if image.width * image.height > LARGEST_IMAGE:
            raise ValueError(f"it has {image.width} x {image.height} pixels, at most {LARGEST_IMAGE:,} are read")
        return (1 if image.mode == "L" else 3, image.height, image.width)


def _decode_jpeg(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    height, width, colours = simplejpeg.decode_jpeg_header(encoded)[:3]
    grey = colours == "Gray"
    _check_shape((height, width, 1 if grey else 3), out)
    # an image of a kind that libjpeg-turbo does not convert is left to Pillow
    try:
        simplejpeg.decode_jpeg(encoded, "GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
    except ValueError:
        _decode_slowly(bytes(encoded), out)


def _decode_png(encoded: bytes, out: NDArray[np.generic]) -> None:
    if encoded.startswith(_PNG_SIGNATURE) and len(encoded) > 26:
        width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
        if depth == 8 and colour in _PNG_MODES:
            _check_shape((height, width, 1 if colour == 0 else 3), out)
            try:
                out[...] = kornia_rs.io.decode_image_png_u8(encoded, (height, width), _PNG_MODES[colour])
            except Exception as error:  # kornia_rs raises nothing narrower
                raise ValueError(error) from None
            return
    _decode_slowly(encoded, out)


def _decode_slowly(encoded: bytes, out: NDArray[np.generic]) -> None:
    """Decode with Pillow, which converts every kind of image."""
    with _opened(encoded) as image:
        _check_shape((image.height, image.width, 1 if image.mode == "L" else 3), out)
        try:
            pixels = np.array(image if image.mode == "L" else image.convert("RGB"))
        except OSError as error:
            raise ValueError(error) from None
    out[...] = pixels[:, :, None] if pixels.ndim == 2 else pixels


def _opened(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("not a PNG or JPEG that can be read") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(error) from None


def _check_shape(shape: tuple[int, ...], out: NDArray[np.generic]) -> None:
    if shape[:2] != out.shape[:2] or shape[2] not in (1, out.shape[2]):  # grey fits into colour, colour does not fit into grey
        found, expected = ((s[2], s[0], s[1]) for s in (shape, out.shape))
        raise ValueError(f"it is {found}, the index says {expected}")
