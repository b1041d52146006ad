"""Images as people hold them: files, Pillow's, arrays; and a batch of drawn ones that shows, saves and converts itself."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import UnusableSampleError
from unbraid.datasets.raw.images import encode_png, fit_image
from unbraid.datasets.shards.codec import decode_image
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.pictures import animation, png, sheet

OneImage = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A file's path, Pillow's image, or pixels: an array (H, W) or (H, W, C), or a tensor (C, H, W), uint8."""
Format = Literal["gif", "webp"]


class Images(Sequence[Image.Image]):
    """N images of one size.

    A notebook shows them as a grid; indexing and iterating give Pillow's images.

    Args:
        tensor: (N, 1 or 3, H, W) uint8.
        columns: of the grid; 0 makes it about square.
    """

    def __init__(self, tensor: Tensor, columns: int = 0) -> None:
        self.tensor = tensor.cpu()
        self.columns = columns or max(1, round(len(tensor) ** 0.5))

    @classmethod
    def of_unit_range(cls, images: Tensor, columns: int = 0) -> Images:
        """From floats (N, C, H, W) in [0, 1]; values outside are clipped."""
        return cls(images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8), columns)

    def __len__(self) -> int:
        return len(self.tensor)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index: int | slice) -> Image.Image | Images:
        if isinstance(index, slice):
            return Images(self.tensor[index], self.columns)
        return Image.fromarray(_last_channel(self.tensor[index]))

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        count, channels, height, width = self.tensor.shape
        return f"Images({count} of {width}x{height}, {'grey' if channels == 1 else 'colour'})"

    def numpy(self) -> NDArray[np.uint8]:
        """(N, H, W, C) uint8."""
        return self.tensor.permute(0, 2, 3, 1).numpy()

    def picture(self, columns: int = 0) -> Tensor:
        """A grid of all images, small ones enlarged: (3, H, W) uint8."""
        return sheet(self.tensor.expand(-1, 3, -1, -1) / 255, columns or self.columns)

    def grid(self, columns: int = 0) -> Image.Image:
        """As :meth:`picture`, as Pillow's image."""
        return Image.fromarray(_last_channel(self.picture(columns)))

    def _repr_png_(self) -> bytes:
        """What notebooks show."""
        return png(self.picture())

    def save(self, folder: str | Path, first: int = 0) -> list[Path]:
        """Write each image as a PNG of its number, such as ``000007.png``; one that is there is whole.

        They are not forced to the disk one by one, which would take longer than to draw them.

        Args:
            first: number of the first one.

        Raises:
            DataError: when the folder cannot be written.
        """
        place = Path(folder)
        paths = [place / f"{first + number:06d}.png" for number in range(len(self))]
        unfinished = place / f".{paths[0].name if paths else 'none'}.part"
        try:
            place.mkdir(parents=True, exist_ok=True)
            for path, image in zip(paths, self.tensor, strict=True):
                with unfinished.open("wb") as file:
                    Image.fromarray(_last_channel(image)).save(file, "PNG", compress_level=1)
                unfinished.replace(path)
        except OSError as error:
            raise DataError(f"{place}: cannot be written ({error.strerror}); free space, or name another folder") from None
        return paths

    def animated(self, kind: Format = "gif", columns: int = 0) -> bytes:
        """A GIF or WebP that shows the columns of the grid one after the other, there and back."""
        count = columns or self.columns
        return animation(self.picture(count), count, kind)


ImagesIn = OneImage | Sequence[OneImage] | Images
"""What models take: one image or several; arrays (N, H, W, C) and tensors (N, C, H, W) are several."""


def pixels_of(images: ImagesIn, shape: tuple[int, int, int], resize: bool = False) -> Tensor:
    """Images as a model takes them: (N, C, H, W) uint8.

    Files and Pillow's images are set upright, and transparent parts are white, as when a set is packed.

    Args:
        shape: (C, H, W) that the model is for.
        resize: whether an image of another size or mode is resized and converted.

    Raises:
        ConfigError: naming an image of another size or mode, with both.
        DataError: when a file cannot be read or is no image.
    """
    every = _each(images)
    if not every:
        raise ConfigError("no image is given; expected at least one")
    return torch.stack([_one(image, number, shape, resize) for number, image in enumerate(every)])


def sizes_of(images: ImagesIn) -> list[tuple[int, int]]:
    """(height, width) of each image as it is given, upright.

    Raises:
        DataError: when a file cannot be read or is no image.
    """
    found = []
    for number, image in enumerate(_each(images)):
        name, content = _encoded(image, number)
        try:
            with Image.open(io.BytesIO(fit_image(content, name, None)[1])) as opened:
                found.append((opened.height, opened.width))
        except UnusableSampleError as error:
            raise DataError(f"{error}; name another image") from None
    return found


def _each(images: ImagesIn) -> list[OneImage]:
    if isinstance(images, Images):
        return list(images.tensor)
    if isinstance(images, np.ndarray | Tensor):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | Image.Image):
        return [images]
    return list(images)


def _one(image: OneImage, number: int, shape: tuple[int, int, int], resize: bool) -> Tensor:
    name, content = _encoded(image, number)
    channels, height, width = shape
    try:
        upright = fit_image(content, name, None)[1]
        with Image.open(io.BytesIO(upright)) as opened:
            there = (1 if opened.mode == "L" else 3, opened.height, opened.width)
        if there != shape and not resize:
            raise ConfigError(
                f"{name}: is {_text(there)}, and the model is for {_text(shape)}: give an image of that kind, or have it "
                "resized and converted (resize=True, --resize)"
            )
        if there[1:] != shape[1:]:
            upright = fit_image(content, name, (height, width))[1]
        if there[0] != channels:
            with Image.open(io.BytesIO(upright)) as opened:
                upright = encode_png(np.asarray(opened.convert("L" if channels == 1 else "RGB")))
        pixels = np.empty((height, width, channels), np.uint8)
        decode_image(upright, pixels)
    except UnusableSampleError as error:
        raise DataError(f"{error}; name another image") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _encoded(image: OneImage, number: int) -> tuple[str, bytes]:
    """The name of an image, for messages, and its content as a file."""
    if isinstance(image, str | Path):
        try:
            return str(image), Path(image).read_bytes()
        except OSError as error:
            raise DataError(f"{image}: cannot be read ({error.strerror}); name a PNG or JPEG") from None
    name = f"image {number}"
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return getattr(image, "filename", "") or name, buffer.getvalue()
    array = np.asarray(image.cpu().permute(1, 2, 0) if isinstance(image, Tensor) and image.ndim == 3 else image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ConfigError(
            f"{name}: is {array.dtype} of the shape {array.shape}; expected uint8 pixels, an array (H, W) or (H, W, 3) or a "
            "tensor (3, H, W)"
        )
    return name, encode_png(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _last_channel(image: Tensor) -> NDArray[np.uint8]:
    """(C, H, W) → (H, W, 3), or (H, W) where C is 1."""
    array: NDArray[np.uint8] = image.permute(1, 2, 0).contiguous().numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def _text(shape: tuple[int, int, int]) -> str:
    return f"{shape[2]}x{shape[1]} {'grey' if shape[0] == 1 else 'in colour'}"
