"""Ranges of images: bytes from the stream, [-1, 1] in networks, [0, 1] in pictures and measures."""

import torch
from torch import Tensor


def normalised(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) → float32 in [-1, 1]."""
    return images.to(torch.float32).div_(127.5).sub_(1)


def sample_deviation(images: Tensor) -> Tensor:
    """Standard deviation over a batch (B, ...), a mean over pixels: about zero when all samples are the same."""
    return images.detach().float().std(0).mean()


def unit_range(images: Tensor) -> Tensor:
    """[-1, 1] → [0, 1], clipped: an output layer may be linear."""
    return ((images.float() + 1) / 2).clamp(0, 1)
