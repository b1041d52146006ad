"""Checkerboards: what transposed convolutions leave in regions that ought to be flat (Odena et al., Distill 2016)."""

import torch
from torch import Tensor
from torch.nn import functional as F

FLAT = 2.5 / 255
"""Range of values of a flat region, over its pixels."""
REGION = 5
"""Side of a flat region, in pixels."""
FAINTEST = (0.5 / 255) ** 2
"""Energy of a checkerboard of two neighbouring values of 8 bits, the faintest that an image file can hold."""
_ALTERNATING, _SMOOTH = (-0.25, 0.5, -0.25), (0.25, 0.5, 0.25)


def nyquist_energy(images: Tensor) -> Tensor:
    """Squared amplitude of alternations from pixel to pixel around each pixel, (N, 1, H, W), the mean over channels.

    Rows, columns and both that alternate by ±a have the energy a²; a slope has none.

    Args:
        images: (N, C, H, W) in [0, 1].
    """
    a, s = (torch.tensor(taps, device=images.device, dtype=images.dtype) for taps in (_ALTERNATING, _SMOOTH))
    kernels = torch.stack([torch.outer(a, s), torch.outer(s, a), torch.outer(a, a)])[:, None]
    channels = images.flatten(0, 1)[:, None]
    responses = F.conv2d(F.pad(channels, (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1)
    return responses.view(images.shape).mean(1, keepdim=True)


def flat_regions(images: Tensor) -> Tensor:
    """Pixels (N, 1, H, W) around which real images are flat in all channels."""
    padding = REGION // 2
    highest = F.max_pool2d(images, REGION, 1, padding)
    lowest = -F.max_pool2d(-images, REGION, 1, padding)
    return (highest - lowest).amax(1, keepdim=True) < FLAT


def checkerboard_ratio(made: Tensor, real: Tensor) -> float:
    """Nyquist energy of made images where the real ones are flat, over that of the real ones there.

    Both energies are counted from the faintest checkerboard on, so that 1 is as good as real and flat drawings of one colour
    are not divided by nothing. 1 also where no region is flat.

    Args:
        made, real: (N, C, H, W) in [0, 1]; the rows belong together.
    """
    where = flat_regions(real)
    if not where.any():
        return 1.0
    energies = [nyquist_energy(images)[where].mean() + FAINTEST for images in (made, real)]
    return (energies[0] / energies[1]).item()
