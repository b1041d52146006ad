"""Pictures as uint8 tensors (3, H, W), and how they become PNG."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GAP = 2
SMALL = 96
"""Pictures of images lower than this are enlarged."""


def image_grid(images: Tensor, columns: int, gap: int = GAP) -> Tensor:
    """Lay N images out in rows.

    Args:
        images: (N, 1 or 3, H, W) in [0, 1]; values outside are clipped.
        columns: of the grid; the last row is filled with white.
        gap: white pixels between images.

    Returns:
        (3, H', W') uint8 on the CPU.
    """
    pixels = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    pixels = pixels.expand(-1, 3, -1, -1)
    count, channels, height, width = pixels.shape
    rows = -(-count // columns)
    grid = torch.full((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), 255, dtype=torch.uint8)
    for i in range(count):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        grid[:, top : top + height, left : left + width] = pixels[i]
    return grid


def sheet(images: Tensor, columns: int) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] in rows of ``columns``, small ones enlarged by whole factors: (3, H', W') uint8."""
    times = max(1, -(-SMALL // images.shape[2]))
    return image_grid(images.repeat_interleave(times, 2).repeat_interleave(times, 3), columns)


def png(picture: Tensor) -> bytes:
    """Encode (3, H, W) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy())).save(buffer, "PNG")
    return buffer.getvalue()
