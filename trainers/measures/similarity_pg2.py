"""SSIM and mask-SSIM as the released code of PG² and DPIG computes them (Ma et al., NIPS 2017 and CVPR 2018), by scikit-image.

They differ from :func:`unbraid.trainers.measures.similarity.image_quality` in everything but the equation: a uniform window, no
border, samples' variances. SSIM is of grey images within the range of each target. Mask-SSIM is of colour images within the
range of bytes, and what lies outside of the mask counts as equal.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

WINDOW = 7
K1, K2 = 0.01, 0.03
CHUNK = 64
GREY = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in scikit-image's grey."""


def image_quality_pg2(fake: Tensor, real: Tensor, masks: Tensor | None = None) -> dict[str, float]:
    """``ssim_pg2`` and, with masks, ``mask_ssim_pg2`` of images (N, 3, H, W) in [0, 1], means over images.

    Args:
        real: the targets.
        masks: (N, 1, H, W), 1 on the person of the target. Both images are black outside of it, and black is equal to black.
    """
    fake, real = (images.clamp(0, 1).mul(255).round().double() for images in (fake, real))
    scores = {"ssim_pg2": ssim_of_grey(fake, real).mean().item()}
    if masks is not None:
        masks = (masks >= 0.5).to(fake.dtype)
        span = fake.new_full((len(fake), 1, 1, 1), 255)
        scores["mask_ssim_pg2"] = ssim(fake * masks, real * masks, span).mean().item()
    return scores


def ssim_of_grey(fake: Tensor, real: Tensor) -> Tensor:
    """SSIM of the grey of images (N, 3, H, W) within each target's range, largest minus smallest number: (N,).

    The range of a target of one colour, where the authors' code divides by zero, is taken as 1.
    """
    weights = fake.new_tensor(GREY).view(1, 3, 1, 1)
    fake, real = ((images * weights).sum(1, keepdim=True) for images in (fake, real))
    span = real.amax((1, 2, 3), keepdim=True) - real.amin((1, 2, 3), keepdim=True)
    return ssim(fake, real, torch.where(span > 0, span, 1))


def ssim(fake: Tensor, real: Tensor, span: Tensor) -> Tensor:
    """SSIM (Wang et al., 2004, equation 13), the mean over channels and each image's map: (N, C, H, W) → (N,).

    The window is uniform, 7x7. Variances and covariances are those of samples, divided by 48 instead of 49. Windows that are
    not wholly inside of the image are left out.

    Args:
        span: the range of each image's numbers, (N, 1, 1, 1).
    """
    chunks = (values.split(CHUNK) for values in (fake, real, span))
    return torch.cat([_ssim(*chunk) for chunk in zip(*chunks, strict=True)])


def _ssim(fake: Tensor, real: Tensor, span: Tensor) -> Tensor:
    c1, c2 = (K1 * span).square(), (K2 * span).square()
    of_sample = WINDOW**2 / (WINDOW**2 - 1)

    def mean(x: Tensor) -> Tensor:
        return avg_pool2d(x, WINDOW, 1)

    mean_fake, mean_real = mean(fake), mean(real)
    variances = of_sample * (mean(fake * fake) - mean_fake.square() + mean(real * real) - mean_real.square())
    covariance = of_sample * (mean(fake * real) - mean_fake * mean_real)
    luminance = (2 * mean_fake * mean_real + c1) / (mean_fake.square() + mean_real.square() + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean((1, 2, 3))
