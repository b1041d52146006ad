"""What a raw data set must tell in order to be packed."""

import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.codec import image_shape
from unbraid.datasets.shards.index import Field

IMAGE_EXTENSIONS = ("png", "jpg")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
JPEG_QUALITY = 95
SPLIT_FOLDERS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}


class UnusableSampleError(Exception):
    """One sample cannot be packed; the message names its file and what is wrong with it."""


@dataclass(frozen=True)
class Item:
    """One sample to pack.

    Attributes:
        key: of the sample, unique in its split.
        load: gives the encoded members by extension; raises :class:`UnusableSampleError`.
        fingerprint: changes when the raw data does; a repeated packing skips shards whose items have the same.
    """

    key: str
    load: Callable[[], Mapping[str, bytes]]
    fingerprint: str


@dataclass(frozen=True)
class Source:
    """A raw data set, listed but not yet read.

    Attributes:
        name, licence, origin: for the index.
        fields: what a batch will hold.
        splits: items of each split, in a fixed order.
        classes, attributes: names, see :class:`unbraid.datasets.shards.index.Index`.
        shuffle: whether items are shuffled (always in the same way) before they are dealt to shards; needed wherever
            neighbours are alike.
        is_computed: whether loading an item is arithmetic more than reading, so that processes are faster than threads; its
            items can be pickled then.
        recipe: how images were made, where they are no photographs; see :class:`unbraid.datasets.shards.index.Index`.
        left_out: what was found but is not packed, with the reason, for the report.
    """

    name: str
    fields: Mapping[str, Field]
    splits: Mapping[str, Sequence[Item]]
    licence: str = "unknown"
    origin: str = ""
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    shuffle: bool = True
    is_computed: bool = False
    recipe: Mapping[str, str | int] = field(default_factory=dict)
    left_out: Sequence[str] = field(default_factory=tuple)


def image_field(shape: tuple[int, ...] | None, prefix: str = "") -> Field:
    """An image, stored as ``PREFIX.png`` or ``PREFIX.jpg``."""
    return Field("image", tuple(f"{prefix}{extension}" for extension in IMAGE_EXTENSIONS), shape)


def label_field() -> Field:
    """A class number, stored as ``cls``."""
    return Field("integer", ("cls",))


def encode_array(values: object) -> bytes:
    """Numbers as the content of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def encode_png(pixels: object) -> bytes:
    """(H, W) or (H, W, 3) uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def fit_image(
    content: bytes, name: str, size: tuple[int, int] | None, box: tuple[int, int, int, int] | None = None
) -> tuple[str, bytes]:
    """An image file as it will be stored: unchanged where it has the size already, else cut, resized and encoded again.

    Args:
        size: (height, width); None keeps any size.
        box: (left, top, right, bottom) to cut out first.

    Returns:
        Extension and content.

    Raises:
        UnusableSampleError: when it is no PNG or JPEG, or damaged.
    """
    try:
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
    """(C, H, W) of some images spread over ``names``, or None when they differ.

    Raises:
        DataError: when there are no images, or the first of them is none.
    """
    if not names:
        raise DataError(f"{where}: no images (PNG or JPEG) there")
    shapes = set()
    for name in names[:: max(1, len(names) // probes)]:
        try:
            shapes.add(image_shape(read(name)))
        except ValueError:
            continue  # told when it is packed, with its name
    if not shapes:
        raise DataError(f"{where}: none of the files that look like images is a PNG or JPEG")
    sizes = {shape[1:] for shape in shapes}
    return (max(shape[0] for shape in shapes), *sizes.pop()) if len(sizes) == 1 else None


def split_of(name: str, test_share: float) -> str:
    """The split that a folder on the path names, else by the hash of the name."""
    folders = (part.lower() for part in PurePosixPath(name).parent.parts)
    return next((SPLIT_FOLDERS[part] for part in folders if part in SPLIT_FOLDERS), None) or split_by_hash(name, test_share)


def split_by_hash(name: str, test_share: float) -> str:
    """``train`` or ``test`` by the name alone, so that it never changes when files are added."""
    return "test" if zlib.crc32(name.encode()) / 2**32 < test_share else "train"


def fingerprint(*parts: object) -> str:
    """One string of several things."""
    return json.dumps(parts)
