"""Decodes the members of samples into arrays. Every decoder is named, so that nothing is ever unpickled."""

import struct
from collections.abc import Callable, Mapping

import kornia_rs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from unbraid.datasets.shards.arrays import read_array
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.pixels import (
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    decode_upright,
    open_image,
    read_header,
    resized,
)

Decoder = Callable[[memoryview | bytes, NDArray[np.generic]], None]

LONGEST_INTEGER = 20
"""Characters: as many as an int64 has."""
DTYPES = {"image": np.uint8, "integer": np.int64, "array": np.float32}
"""Of a decoded value, by kind of field."""
_PNG_MODES = {0: "mono", 2: "rgb"}
"""PNG's colour types that kornia_rs decodes as they are; Pillow decodes palettes and transparency."""


def decoder_of(field: Field, resize: bool = False) -> Decoder:
    """Return the function that decodes one member of a field.

    It takes the content and an array of length 1 along its first axis to write to: images (1, H, W, C), numbers (1, …). It
    raises :class:`ValueError` when the content is not what the field says; other errors of decoders are possible.

    Args:
        resize: whether images of any size are resized to the array's.
    """
    if field.kind == "integer":
        return _word_decoder(field.words) if field.words else _decode_integer
    if field.kind == "array":
        return _decode_array
    if resize:
        return _decode_resized
    return _decode_image if field.is_plain else _decode_any


def stored_shape(field: Field) -> tuple[int, ...]:
    """Return the shape of a decoded value in memory: images are (H, W, C).

    Raises:
        ValueError: when the field's images are of several sizes.
    """
    if field.has_several_sizes:
        raise ValueError("its images are of several sizes and make no batch: resize them by data.fit, or pack with --size")
    if field.kind != "image":
        return field.shape
    channels, height, width = field.shape
    return height, width, channels


def decode_image(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    """Decode an image into ``out``, (H, W, 1 or 3) uint8.

    JPEG by libjpeg-turbo (simplejpeg: it releases the interpreter lock and writes in place), plain PNG by kornia_rs, the
    rest by Pillow; all give the same pixels. Nothing is decoded before the size in the header has been compared with ``out``:
    a small file can hold an image that fills all memory.

    Raises:
        ValueError: when the content is no image, is damaged, or has another size.
    """
    if encoded[:2] == JPEG_SIGNATURE:
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
        ValueError: when the content is no image, or has more pixels than are read.
    """
    return read_header(encoded).shape


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
    if encoded.startswith(PNG_SIGNATURE) and len(encoded) > 26:
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
    header = read_header(encoded)
    _check_shape((header.height, header.width, header.channels), out)
    with open_image(encoded) as image:
        pixels = np.asarray(decode_upright(image))
    out[...] = pixels[:, :, None] if pixels.ndim == 2 else pixels


def _check_shape(shape: tuple[int, ...], out: NDArray[np.generic]) -> None:
    if shape[:2] != out.shape[:2] or shape[2] not in (1, out.shape[2]):  # grey fits into colour, colour does not fit into grey
        found, expected = ((s[2], s[0], s[1]) for s in (shape, out.shape))
        raise ValueError(f"it is {found}, the index says {expected}")


def _decode_image(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    decode_image(content, out[0])


def _decode_any(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    _decode_slowly(bytes(content), out[0])


def _decode_resized(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    """Decode an image of any size, and resize it to the array's; grey is written to all channels."""
    encoded = bytes(content)
    header = read_header(encoded)
    height, width, channels = out.shape[1:]
    if header.channels not in (1, channels):
        raise ValueError("it is in colour, the index says grey")
    with open_image(encoded) as image:
        pixels = np.asarray(resized(image, header, (height, width)))
    out[0] = pixels[:, :, None] if pixels.ndim == 2 else pixels


def _decode_integer(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    out[0] = decode_integer(content)


def _word_decoder(words: Mapping[str, int]) -> Decoder:
    """Return a decoder of texts that stand for numbers."""
    numbers = {word.encode("utf-8", "surrogateescape"): number for word, number in words.items()}

    def decode(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
        number = numbers.get(bytes(content).strip())
        if number is None:
            raise ValueError(f"{bytes(content[:40])!r} is none of the {len(words):,} known ones")
        out[0] = number

    return decode


def _decode_array(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    out[0] = read_array(content, out.shape[1:])
