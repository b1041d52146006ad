"""SSIM and mask-SSIM as the authors of PG² and DPIG compute them (Ma et al., NIPS 2017 and CVPR 2018), by scikit-image.

They differ from :func:`unbraid.trainers.measures.similarity.image_quality` in everything but the equation: grey images of whole
numbers, a uniform window, the range of each target, no border; and what lies outside the mask counts as equal.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

WINDOW = 7
K1, K2 = 0.01, 0.03
CHUNK = 64


def image_quality_pg2(fake: Tensor, real: Tensor, masks: Tensor | None = None) -> dict[str, float]:
    """``ssim_pg2`` and, with masks, ``mask_ssim_pg2`` of images (N, 3, H, W) in [0, 1], means over images.

    Args:
        real: the targets.
        masks: (N, 1, H, W), 1 on the person of the target. Both images are black outside of it, and black is equal to black.
    """
    fake, real = grey(fake), grey(real)
    scores = {"ssim_pg2": ssim(fake, real).mean().item()}
    if masks is not None:
        masks = (masks >= 0.5).to(fake.dtype)
        scores["mask_ssim_pg2"] = ssim(fake * masks, real * masks).mean().item()
    return scores


def grey(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] → (N, 1, H, W) of whole numbers from 0 to 255, float64: ITU-R 601, rounded as Pillow's mode L."""
    red, green, blue = images.clamp(0, 1).mul(255).round().long().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).unsqueeze(1).double()


def ssim(fake: Tensor, real: Tensor) -> Tensor:
    """SSIM (Wang et al., 2004, equation 13) of grey images (N, 1, H, W), the mean over each image's map: (N,).

    The window is uniform, 7x7. Variances and covariances are those of samples, divided by 48 instead of 49. Windows that are
    not wholly inside of the image are left out. The range is the largest minus the smallest number of each target; that of a
    target of one colour is taken as 1.
    """
    return torch.cat([_ssim(a, b) for a, b in zip(fake.split(CHUNK), real.split(CHUNK), strict=True)])


def _ssim(fake: Tensor, real: Tensor) -> Tensor:
    span = (real.amax((1, 2, 3), keepdim=True) - real.amin((1, 2, 3), keepdim=True)).clamp_min(1)
    c1, c2 = (K1 * span).square(), (K2 * span).square()
    of_sample = WINDOW**2 / (WINDOW**2 - 1)

    def mean(x: Tensor) -> Tensor:
        return avg_pool2d(x, WINDOW, 1)

    mean_fake, mean_real = mean(fake), mean(real)
    variances = of_sample * (mean(fake * fake) - mean_fake.square() + mean(real * real) - mean_real.square())
    covariance = of_sample * (mean(fake * real) - mean_fake * mean_real)
    luminance = (2 * mean_fake * mean_real + c1) / (mean_fake.square() + mean_real.square() + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean((1, 2, 3))
