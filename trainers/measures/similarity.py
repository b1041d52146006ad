"""Similarity of images to their targets."""

import torch
from kornia.metrics import ssim
from torch import Tensor

WINDOW = 11


def image_quality(fake: Tensor, real: Tensor, masks: Tensor | None = None) -> dict[str, float]:
    """SSIM, L1 and PSNR of images (N, 3, H, W) in [0, 1], means over images.

    ``ssim`` (Wang et al., 2004, Gaussian window of 11), ``l1``, ``psnr`` in dB, and with masks (N, 1, H, W)
    ``mask_ssim``, the mean of SSIM's map over the mask: no background counts. (Ma et al., 2017, mask both images
    instead, which counts black as equal.)
    """
    maps = torch.cat([ssim(a, b, WINDOW) for a, b in zip(fake.split(64), real.split(64), strict=True)])
    squared = (fake - real).square().mean((1, 2, 3))
    scores = {
        "ssim": maps.mean().item(),
        "l1": (fake - real).abs().mean().item(),
        "psnr": (-10 * squared.clamp_min(1e-10).log10()).mean().item(),
    }
    if masks is not None:
        scores["mask_ssim"] = ((maps * masks).sum() / (masks.sum() * 3).clamp_min(1)).item()
    return scores
