"""Random changes of images on their device, each image its own; all differentiable, so that G learns through them."""

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
    """Each image through its own small random affine map about its centre; gradients flow to the image.

    Args:
        images: (B, C, H, W).
        degrees: rotation in ±degrees.
        scale: zoom in 1 ± scale, one factor for both axes.
        shear: tangent of the horizontal and of the vertical shear, in ±shear.
        shift: translation in ±shift pixels on each axis.
        padding: what lies outside: ``zeros`` or ``border``.

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
    """Each image of (B, C, H, W) mirrored left to right with probability one half."""
    mirrored = source.uniform(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, hflip(images), images)


def random_shift(images: Tensor, source: RandomSource, rows: int, columns: int, padding: str = "zeros") -> Tensor:
    """Each image moved by whole pixels, at most so many rows and columns either way; the same as padding and cropping.

    Args:
        images: (B, C, H, W).
        padding: what comes in: ``zeros`` or ``border``.
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
    """Colour jitter, differentiable, in the form of DiffAugment (Zhao et al., NeurIPS 2020), values not clipped.

    Args:
        images: (B, C, H, W).
        brightness: added to all pixels, in ±brightness / 2 of the range of values that ``images`` have, taken as 1.
        contrast: distance from the image's mean is multiplied by 1 ± contrast.
        saturation: distance from the pixel's mean over channels is multiplied by 1 ± saturation.
    """
    draw = source.uniform(len(images), 3, low=-1.0)[:, :, None, None, None]
    images = images + brightness / 2 * draw[:, 0]
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (1 + saturation * draw[:, 1])
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (1 + contrast * draw[:, 2])


def random_cutout(images: Tensor, source: RandomSource, share: float) -> Tensor:
    """A square of ``share`` of the sides set to zero somewhere in each image, over its edge too (Zhao et al., 2020)."""
    batch, _, height, width = images.shape
    draw = source.uniform(batch, 2)
    inside = []
    for side, extent in enumerate((height, width)):
        centre = draw[:, side, None] * extent
        inside.append((torch.arange(extent, device=images.device) + 0.5 - centre).abs() < share * extent / 2)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images * (~hole).to(images.dtype)
