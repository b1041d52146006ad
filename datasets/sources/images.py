"""Image files and arrays as a shard stores them: encoded, cut and resized."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.codec import image_shape
from unbraid.datasets.sources.source import UnusableSampleError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
JPEG_QUALITY = 95


def image_names(names: Sequence[str]) -> list[str]:
    """Select the names that end as image files do."""
    return [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]


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


def fit_image(
    content: bytes, name: str, size: tuple[int, int] | None, box: tuple[int, int, int, int] | None = None
) -> tuple[str, bytes]:
    """Cut and resize an encoded image; one that has the size already is returned unchanged.

    Args:
        name: for messages.
        size: (height, width); None keeps any size.
        box: (left, top, right, bottom) to cut out first.

    Returns:
        Extension and content.

    Raises:
        UnusableSampleError: when it is not PNG or JPEG, or damaged.
    """
    try:
        image_shape(content)  # bounded, before any pixel is decoded
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            image.load()
            extension = "png" if image.format == "PNG" else "jpg"
            if box is None and size in (None, (image.height, image.width)):
                return extension, content
            changed = (image if image.mode == "L" else image.convert("RGB")).crop(box or (0, 0, image.width, image.height))
            if size is not None and size != (changed.height, changed.width):
                changed = changed.resize((size[1], size[0]), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            if extension == "png":
                changed.save(buffer, "PNG")
            else:
                changed.save(buffer, "JPEG", quality=JPEG_QUALITY)
            return extension, buffer.getvalue()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnusableSampleError(f"{name}: not a whole PNG or JPEG ({error})") from None


def common_shape(read: Callable[[str], bytes], names: Sequence[str], where: str, probes: int = 64) -> tuple[int, ...] | None:
    """Return (C, H, W) of some images spread over ``names``, or None when they differ.

    Raises:
        DataError: when there are no images, or none of those probed is one.
    """
    if not names:
        raise DataError(f"{where}: no images (PNG or JPEG) there")
    shapes = set()
    for name in names[:: max(1, len(names) // probes)]:
        try:
            shapes.add(image_shape(read(name)))
        except (ValueError, UnusableSampleError):
            continue  # reported with its name when it is packed
    if not shapes:
        raise DataError(f"{where}: none of the files that look like images is a PNG or JPEG")
    sizes = {shape[1:] for shape in shapes}
    return (max(shape[0] for shape in shapes), *sizes.pop()) if len(sizes) == 1 else None
