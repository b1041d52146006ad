"""Random changes of images on their device, another for each image; differentiable, so that a generator learns through them."""

import torch
from kornia.geometry.transform import get_affine_matrix2d, hflip, warp_affine
from torch import Tensor
from torch.nn.functional import pad

from unbraid.models.random import RandomSource


def random_affine(
    images: Tensor,
    source: RandomSource,
    degrees: float,
    scale: float,
    shear: float,
    shift: float,
    padding: str = "zeros",
) -> Tensor:
    """Warp each image by a small random affine map about its centre.

    Args:
        images: (B, C, H, W).
        degrees: rotation in ±degrees.
        scale: zoom in 1 ± scale, one factor for both axes.
        shear: tangent of the horizontal and of the vertical shear, in ±shear.
        shift: translation in ±shift pixels on each axis.
        padding: value of pixels from outside of the image: ``zeros``, or ``border`` for the nearest pixel.

    Returns:
        (B, C, H, W).
    """
    batch, _, height, width = images.shape
    # One draw for all six numbers: columns are angle, zoom, shear x, shear y, shift x, shift y.
    draw = source.uniform(batch, 6, low=-1.0)
    zoom = 1 + scale * draw[:, 1:2]
    # two fills on the device: a tensor made from a Python list would be copied from the host
    centre = torch.cat([draw.new_full((batch, 1), (width - 1) / 2), draw.new_full((batch, 1), (height - 1) / 2)], dim=1)
    matrix = get_affine_matrix2d(
        translations=shift * draw[:, 4:6],
        center=centre,
        scale=zoom.expand(batch, 2),
        angle=degrees * draw[:, 0],
        sx=torch.atan(shear * draw[:, 2]),
        sy=torch.atan(shear * draw[:, 3]),
    )
    return warp_affine(images, matrix[:, :2], (height, width), padding_mode=padding, align_corners=True)


def random_flip(images: Tensor, source: RandomSource) -> Tensor:
    """Mirror each image of (B, C, H, W) left to right with probability one half."""
    mirrored = source.uniform(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, hflip(images), images)


def random_shift(images: Tensor, source: RandomSource, rows: int, columns: int, padding: str = "zeros") -> Tensor:
    """Move each image by whole pixels, at most ``rows`` and ``columns`` either way: padding and a random crop.

    Args:
        images: (B, C, H, W).
        padding: value of pixels from outside of the image: ``zeros``, or ``border`` for the nearest pixel.
    """
    batch, _, height, width = images.shape
    draw = source.uniform(batch, 2)
    mode = "replicate" if padding == "border" else "constant"
    padded = pad(images, (columns, columns, rows, rows), mode=mode)
    top = (draw[:, 0] * (2 * rows + 1)).long().clamp(max=2 * rows)
    left = (draw[:, 1] * (2 * columns + 1)).long().clamp(max=2 * columns)
    row = (top[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    column = (left[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    taken = padded.gather(2, row.expand(-1, images.shape[1], -1, padded.shape[3]))
    return taken.gather(3, column.expand(-1, images.shape[1], height, -1))


def random_colour(images: Tensor, source: RandomSource, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Change brightness, saturation and contrast as DiffAugment does (Zhao et al., NeurIPS 2020); values are not clipped.

    Args:
        images: (B, C, H, W).
        brightness: a number within ±brightness / 2 is added to all pixels.
        contrast: the distance of pixels from the image's mean is multiplied by 1 ± contrast.
        saturation: the distance of channels from the pixel's mean is multiplied by 1 ± saturation.
    """
    draw = source.uniform(len(images), 3, low=-1.0)[:, :, None, None, None]
    images = images + brightness / 2 * draw[:, 0]
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (1 + saturation * draw[:, 1])
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + contrast * draw[:, 2])


def random_cutout(images: Tensor, source: RandomSource, share: float) -> Tensor:
    """Set a rectangle to zero in each image (Zhao et al., 2020).

    Its centre is anywhere in the image, so that it may cross the edge.

    Args:
        images: (B, C, H, W).
        share: of the image's height and width, the rectangle's.
    """
    batch, _, height, width = images.shape
    draw = source.uniform(batch, 2)
    inside = []
    for side, extent in enumerate((height, width)):
        centre = draw[:, side, None] * extent
        inside.append((torch.arange(extent, device=images.device) + 0.5 - centre).abs() < share * extent / 2)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images * (~hole).to(images.dtype)
