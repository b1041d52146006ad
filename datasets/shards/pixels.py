"""What an image file holds, read from its header, and its pixels as the networks see them: upright, opaque, of 8 bits."""

import ctypes
import ctypes.util
import io
import logging
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import kornia_rs
import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that are read, as Pillow calls them. Each is named, so that no other decoder of Pillow's sees a file."""
PLAIN_FORMATS = ("PNG", "JPEG")
LARGEST_IMAGE = 1 << 26
"""Pixels of the largest image that is read: a small file can hold an image that fills all memory."""
WHITE = (255, 255, 255)
REDUCING_GAP = 3.0
"""Times the wanted size from which on an image is first reduced by a fast method; Pillow documents no visible difference."""
JPEG_SIGNATURE = b"\xff\xd8"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_DEEP_GREY = "I;16"
"""What the names of Pillow's modes of 16 bits begin with."""
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange height and width."""
_EXIF = b"Exif\0\0"
_EXIF_WITHIN = 1 << 18
"""Bytes at the start of a JPEG in which EXIF data is looked for; a segment has 64 KiB at most, and it is one of the first."""

Colour = tuple[int, int, int]

# Whatever Pillow warns of (large images, damaged tags), its caller names the file, decides whether it can be used, and says so.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _silence_libtiff() -> None:
    """Let libtiff print nothing: of each damaged TIFF it writes lines without a file's name to standard error.

    Pillow raises an error for the same file, and has no option for this. Where libtiff is not found, nothing is changed.
    """
    bundled = (
        *Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*"),
        *Path(PIL.__file__).parent.glob(".dylibs/libtiff*"),
    )
    name = str(bundled[0]) if bundled else ctypes.util.find_library("tiff")
    if name is not None:
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(name)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


_silence_libtiff()


@dataclass(frozen=True, slots=True)
class Header:
    """Describes an image file without its pixels.

    Attributes:
        format: as Pillow calls it, such as ``JPEG``.
        mode: as Pillow calls it, such as ``RGB``, ``L`` or ``I;16``.
        height, width: of the upright image, in pixels.
        orientation: EXIF's number, 1 for an image that is stored upright.
        is_transparent: whether it may have transparent pixels.
        frames: pictures in the file, of which the first is used.
    """

    format: str
    mode: str
    height: int
    width: int
    orientation: int = 1
    is_transparent: bool = False
    frames: int = 1

    @property
    def channels(self) -> int:
        """1 for a grey image, 3 for all others."""
        return 1 if self.mode in _GREY_MODES or self.mode.startswith(_DEEP_GREY) else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    @property
    def is_plain(self) -> bool:
        """Whether the file can be stored as it is: every decoder gives the same pixels."""
        upright = self.orientation == 1 and not self.is_transparent and self.frames == 1
        return upright and self.format in PLAIN_FORMATS and not self.mode.startswith(_DEEP_GREY)


def read_header(encoded: bytes) -> Header:
    """Read the header of an image file.

    Args:
        encoded: the whole file. Of a JPEG, its first bytes up to and with the frame header are enough.

    Raises:
        ValueError: when it is no image of a known format, has more pixels than are read, or pixels of unknown range.
    """
    header = _jpeg_header(encoded) or _png_header(encoded) or _any_header(encoded)
    if header.height * header.width > LARGEST_IMAGE:
        raise ValueError(f"it has {header.width} x {header.height} pixels, at most {LARGEST_IMAGE:,} are read")
    return header


def open_image(encoded: bytes) -> Image.Image:
    """Open an image with Pillow, without decoding it.

    Raises:
        ValueError: when it is no image of a known format.
    """
    try:
        return Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"it has more pixels than are read, {LARGEST_IMAGE:,}") from None
    except UnidentifiedImageError:
        raise ValueError(f"not one of {', '.join(FORMATS)}, or damaged") from None
    except Exception as error:  # Pillow's plugins raise many kinds of a damaged header
        raise ValueError(f"damaged ({error})") from None


def plain_png_shape(encoded: bytes) -> tuple[int, int, int] | None:
    """Return (H, W, 1 or 3) of a PNG of 8 bits, grey or colour; None for any other image."""
    if not encoded.startswith(PNG_SIGNATURE) or len(encoded) < 33:
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
    return (height, width, 1 if colour == 0 else 3) if depth == 8 and colour in (0, 2) else None


def decode_plain_png(encoded: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Decode a PNG of a :func:`plain_png_shape`, in a third of Pillow's time.

    Raises:
        ValueError: when it is damaged.
    """
    try:
        pixels: NDArray[np.uint8] = kornia_rs.io.decode_image_png_u8(encoded, shape[:2], "mono" if shape[2] == 1 else "rgb")
    except Exception as error:  # kornia_rs raises nothing narrower
        raise ValueError(error) from None
    return pixels


def decode_upright(image: Image.Image, background: Colour = WHITE) -> Image.Image:
    """Decode an opened image as ``L`` or ``RGB``: turned as EXIF says, composed on a background, 16 bits scaled to 8.

    Raises:
        ValueError: when it is damaged, or its pixels have no known range.
    """
    try:
        image.load()
        return _opaque(ImageOps.exif_transpose(image), background)
    except Exception as error:  # Pillow's plugins raise many kinds of a damaged file
        raise ValueError(f"damaged ({error})") from None


def resized(encoded: bytes, header: Header, size: tuple[int, int], background: Colour = WHITE) -> Image.Image:
    """Decode an image as :func:`decode_upright` does, and resize it to (height, width).

    A JPEG that is much larger is reduced by its decoder on the way.

    Raises:
        ValueError: when it is damaged, or its pixels have no known range.
    """
    least = (int(REDUCING_GAP * size[0]), int(REDUCING_GAP * size[1]))
    upright = _decode_fast(encoded, header, least)
    if upright is None:
        with open_image(encoded) as image:
            if header.orientation == 1:
                image.draft(None, least[::-1])  # to not less than that
            upright = decode_upright(image, background)
    if size == (upright.height, upright.width):
        return upright
    return upright.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)


def _decode_fast(encoded: bytes, header: Header, least: tuple[int, int]) -> Image.Image | None:
    """Decode a plain image by the decoders of the stream, a JPEG to not less than (height, width); None for any other.

    Raises:
        ValueError: when it is damaged.
    """
    if not header.is_plain or header.mode not in ("L", "RGB"):
        return None
    if header.format == "JPEG":
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                encoded, "GRAY" if header.mode == "L" else "RGB", min_height=least[0], min_width=least[1]
            )
        except ValueError:
            return None  # Pillow decodes kinds that libjpeg-turbo does not
    else:
        shape = plain_png_shape(encoded)
        if shape is None:
            return None
        pixels = decode_plain_png(encoded, shape)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _opaque(image: Image.Image, background: Colour) -> Image.Image:
    _require_known_range(image.mode)
    is_grey = image.mode in _GREY_MODES or image.mode.startswith(_DEEP_GREY)
    if image.mode.startswith(_DEEP_GREY):
        image = _scaled_to_8_bits(image)
    elif image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*background, 255))
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
        is_grey = is_grey and len(set(background)) == 1
    wanted = "L" if is_grey else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits; Pillow's own conversion would clip at 255."""
    deep = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(deep == int(transparent), 0, 255).astype(np.uint8)))
        grey = _opaque(grey, WHITE)
    return grey


def _require_known_range(mode: str) -> None:
    if mode in ("I", "F"):
        raise ValueError(f"its pixels are numbers of 32 bits (mode {mode}), whose range is unknown; convert it to 8 or 16 bits")


def _jpeg_header(encoded: bytes) -> Header | None:
    """Read the header of a JPEG without Pillow, which takes seven times as long; None where Pillow must look."""
    if not encoded.startswith(JPEG_SIGNATURE) or encoded.find(_EXIF, 0, _EXIF_WITHIN) >= 0:
        return None
    try:
        height, width, colours = simplejpeg.decode_jpeg_header(encoded)[:3]
    except ValueError:
        return None
    mode = {"Gray": "L", "YCbCr": "RGB", "RGB": "RGB", "YCCK": "CMYK", "CMYK": "CMYK"}.get(colours)
    return Header("JPEG", mode, height, width) if mode else None


def _png_header(encoded: bytes) -> Header | None:
    """Read the header of a PNG of 8 bits, grey or colour, without transparency, without Pillow; None for any other."""
    height, width, channels = plain_png_shape(encoded) or (0, 0, 0)
    special = any(encoded.find(chunk) >= 0 for chunk in (b"tRNS", b"eXIf", b"acTL"))
    if special or not width or not height:
        return None
    return Header("PNG", "L" if channels == 1 else "RGB", height, width)


def _any_header(encoded: bytes) -> Header:
    with open_image(encoded) as image:
        _require_known_range(image.mode)
        try:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            frames, is_transparent = getattr(image, "n_frames", 1), image.has_transparency_data
        except Exception as error:  # Pillow's plugins raise many kinds of a damaged header
            raise ValueError(f"damaged ({error})") from None
        orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
        height, width = image.height, image.width
        if orientation in _QUARTER_TURNS and image.format != "TIFF":  # Pillow turns TIFF by itself
            height, width = width, height
        name = "JPEG" if image.format == "MPO" else str(image.format)  # photographs with a second picture for depth
        return Header(name, image.mode, height, width, orientation, is_transparent, 1 if name == "JPEG" else frames)
