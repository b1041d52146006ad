"""Differentiable augmentation of what a discriminator sees, real or made."""

import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from torch import Tensor

from models.random import RandomSource


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
