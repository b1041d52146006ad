"""From encoded members to a batch's arrays, each image straight to its place."""

import io
import struct
from collections.abc import Mapping

import kornia_rs
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datasets.index import Field
from datasets.reading import Block

FORMATS = ("PNG", "JPEG")
_JPEG_SIGNATURE = b"\xff\xd8"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {0: "mono", 2: "rgb"}
"""PNG's colour types that are decoded as they are; palettes and transparency go the slower way."""
_DTYPES = {"image": np.uint8, "integer": np.int64, "array": np.float32}

Arrays = dict[str, NDArray[np.generic]]


class BatchDecoder:
    """Decodes samples into arrays that were allocated for a whole batch; any number of threads may use one.

    Args:
        fields: of the data set.

    Raises:
        ValueError: when a field's images are of several sizes, which no batch can hold.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        for name, field in fields.items():
            if field.shape is None:
                raise ValueError(f"the images of field {name!r} are of several sizes and make no batch: pack with --size")
        self.fields = dict(fields)

    def allocate(self, samples: int) -> Arrays:
        """Arrays for so many samples: images (N, H, W, C) uint8, integers (N,) int64, arrays (N, …) float32."""
        shapes = {name: self._stored_shape(field) for name, field in self.fields.items()}
        return {name: np.empty((samples, *shape), _DTYPES[self.fields[name].kind]) for name, shape in shapes.items()}

    def decode(self, block: Block, first: int, last: int, arrays: Arrays, row: int) -> dict[int, str]:
        """All fields of samples ``first`` to ``last`` (exclusive) of a block, into the arrays from ``row`` on.

        Returns:
            Of each sample that is not what its fields say: its row, and why.
        """
        unusable: dict[int, str] = {}
        for column, (name, field) in enumerate(self.fields.items()):
            decode, array = _DECODERS[field.kind], arrays[name]
            for at, content in enumerate(block.encoded(first, last, column), row):
                try:
                    if content is None:
                        unusable[at] = f"it has no {' or '.join(field.members)} for the field {name!r}"
                    else:
                        decode(content, array[at : at + 1])
                except ValueError as error:
                    unusable[at] = f"its {name} cannot be decoded ({error})"
        for sample in np.flatnonzero(block.damaged[first:last]).tolist():
            unusable[row + sample] = "its checksum differs from the one packed: the shard was changed or damaged"
        return unusable

    def tensors(self, arrays: Arrays) -> dict[str, Tensor]:
        """The arrays as tensors; images as (N, C, H, W), whose memory stays in the order in which they were decoded."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        images = {name: tensors[name].permute(0, 3, 1, 2) for name, field in self.fields.items() if field.kind == "image"}
        return tensors | images

    @staticmethod
    def _stored_shape(field: Field) -> tuple[int, ...]:
        assert field.shape is not None
        if field.kind != "image":
            return field.shape
        channels, height, width = field.shape
        return height, width, channels


def decode_image(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    """PNG or JPEG into ``out``, (H, W, 1 or 3) uint8.

    JPEG by libjpeg-turbo (simplejpeg: it releases the interpreter lock and writes in place), plain PNG by kornia_rs, the
    rest by Pillow; all give the same pixels.

    Raises:
        ValueError: when it is neither, is damaged, or of another size.
    """
    if encoded[:2] == _JPEG_SIGNATURE:
        _decode_jpeg(encoded, out)
    else:
        pixels = _decode_png(bytes(encoded))
        _check_shape(pixels.shape, out)
        out[...] = pixels


def image_shape(encoded: bytes) -> tuple[int, int, int]:
    """(channels, height, width) that :func:`decode_image` gives.

    Raises:
        ValueError: when it is neither PNG nor JPEG.
    """
    with _opened(encoded) as image:
        return (1 if image.mode == "L" else 3, image.height, image.width)


def _decode_jpeg(encoded: memoryview | bytes, out: NDArray[np.generic]) -> None:
    # where the image is larger, or of a kind that libjpeg-turbo does not convert, Pillow tells or knows
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
    """Channels of a JPEG, 1 or 3."""
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
    if shape[:2] != out.shape[:2] or shape[2] not in (1, out.shape[2]):  # grey is shown in colour, not the other way round
        found, expected = ((s[2], s[0], s[1]) for s in (shape, out.shape))
        raise ValueError(f"it is {found}, the index says {expected}")


def _decode_image(content: memoryview, out: NDArray[np.generic]) -> None:
    decode_image(content, out[0])


def _decode_integer(content: memoryview, out: NDArray[np.generic]) -> None:
    out[0] = int(bytes(content))


def _decode_array(content: memoryview, out: NDArray[np.generic]) -> None:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.shape != out.shape[1:]:
        raise ValueError(f"it has shape {array.shape}, the index says {out.shape[1:]}")
    out[0] = array


_DECODERS = {"image": _decode_image, "integer": _decode_integer, "array": _decode_array}
"""Each writes one value into an array of length 1, its place in the batch."""
