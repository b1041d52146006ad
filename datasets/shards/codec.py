"""Decodes the members of samples into arrays. Every decoder is named, so that nothing is ever unpickled."""

from collections.abc import Callable, Mapping

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from unbraid.datasets.shards.arrays import read_array
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.pixels import (
    JPEG_SIGNATURE,
    LARGEST_IMAGE,
    decode_plain_png,
    decode_upright,
    open_image,
    plain_png_shape,
    read_header,
    resized,
)

Decoder = Callable[[memoryview | bytes, NDArray[np.generic]], None]

LONGEST_INTEGER = 20
"""Characters: as many as an int64 has."""
_SAMPLINGS = frozenset({"444", "422", "420", "440", "411", "Gray"})
"""Of colours in JPEGs, as cameras and programs write them; libjpeg-turbo refuses some others at some sizes only."""
DTYPES = {"image": np.uint8, "integer": np.int64, "array": np.float32}
"""Of a decoded value, by kind of field."""


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


def require_decodable(content: bytes, field: Field) -> None:
    """Check that the stream decodes the content of a member, which takes half the time of decoding it where it is a JPEG.

    Raises:
        ValueError: when the content is not what the field says; other errors of decoders are possible.
    """
    if field.kind == "image" and field.is_plain and content[:2] == JPEG_SIGNATURE and _is_whole_jpeg(content, field):
        return
    if field.has_several_sizes:
        channels, height, width = image_shape(content)
        shape: tuple[int, ...] = (height, width, max(channels, field.shape[0]))
    else:
        shape = stored_shape(field)
    decode = decoder_of(field, resize=field.has_several_sizes)  # images of several sizes are always resized
    decode(content, np.empty((1, *shape), DTYPES[field.kind]))


def _is_whole_jpeg(content: bytes, field: Field) -> bool:
    """Decode a JPEG at an eighth of its size: that reads all of its data, and fails where decoding it in full does.

    Returns:
        False where decoding it in full must say whether it can be used, and why not.
    """
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(content)
        channels = 1 if colours == "Gray" else 3
        fits = field.has_several_sizes or (height, width) == field.shape[1:]
        if not fits or channels > field.shape[0] or sampling not in _SAMPLINGS or height * width > LARGEST_IMAGE:
            return False
        simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1)
    except ValueError:
        return False
    return True


def number_reader(words: Mapping[str, int]) -> Callable[[memoryview | bytes], int]:
    """Return the function that reads a value of an integer field; it raises :class:`ValueError` where there is none.

    Args:
        words: of the field, see :class:`unbraid.datasets.shards.index.Field`.
    """
    if not words:
        return decode_integer
    numbers = {word.encode("utf-8", "surrogateescape"): number for word, number in words.items()}

    def number_of(content: memoryview | bytes) -> int:
        number = numbers.get(bytes(content).strip())
        if number is None:
            raise ValueError(f"{bytes(content[:40])!r} is none of the {len(words):,} known ones")
        return number

    return number_of


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
    shape = plain_png_shape(encoded)
    if shape is None:
        _decode_slowly(encoded, out)
        return
    _check_shape(shape, out)
    out[...] = decode_plain_png(encoded, shape)


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
    pixels = np.asarray(resized(encoded, header, (height, width)))
    out[0] = pixels[:, :, None] if pixels.ndim == 2 else pixels


def _decode_integer(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    out[0] = decode_integer(content)


def _word_decoder(words: Mapping[str, int]) -> Decoder:
    """Return a decoder of texts that stand for numbers."""
    number_of = number_reader(words)

    def decode(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
        out[0] = number_of(content)

    return decode


def _decode_array(content: memoryview | bytes, out: NDArray[np.generic]) -> None:
    out[0] = read_array(content, out.shape[1:])
