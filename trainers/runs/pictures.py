"""Pictures as uint8 tensors (3, H, W): grids, tables, figures, and their encoding as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 2
SMALL = 96
"""Images of fewer rows than this are enlarged."""


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
    """Lay images (N, 3, H, W) in [0, 1] out in rows of ``columns``, small ones enlarged by whole factors: (3, H', W') uint8."""
    times = max(1, -(-SMALL // images.shape[2]))
    return image_grid(images.repeat_interleave(times, 2).repeat_interleave(times, 3), columns)


def rendered(figure: Figure) -> Tensor:
    """Draw a matplotlib figure as a picture (3, H, W) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second to import, and only evaluation needs it

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1)


def value_table(
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    colours: str,
    axes_names: tuple[str, str] = ("", ""),
) -> Tensor:
    """Draw a table of numbers from 0 to 1, each cell coloured by its number.

    Args:
        values: (rows, columns).
        rows, columns: their labels.
        colours: name of a matplotlib colour map.
        axes_names: what the rows and the columns are.

    Returns:
        (3, H, W) uint8.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * len(columns) + 1.4, 1.1 * len(rows) + 1.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel(axes_names[0])
    axes.set_xlabel(axes_names[1])
    axes.set_title(title, fontsize=10)
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if value > 0.6 else "black")
    return rendered(figure)


def animation(picture: Tensor, columns: int, kind: str, gap: int = GAP, milliseconds: int = 90) -> bytes:
    """Show the columns of a grid one after the other, there and back.

    Args:
        picture: (3, H, W) uint8, a grid of equal columns with ``gap`` pixels between them.
        kind: ``gif`` or ``webp``.
        milliseconds: of each column.
    """
    width = (picture.shape[2] + gap) // columns - gap
    strips = [picture[:, :, i * (width + gap) :][:, :, :width].permute(1, 2, 0).contiguous() for i in range(columns)]
    frames = [Image.fromarray(strip.numpy()) for strip in strips]
    frames += frames[-2:0:-1]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, lossless=True)
    return buffer.getvalue()


def newest_pictures(keys: Iterable[str]) -> list[str]:
    """Of the keys of a run's pictures, such as ``preview/samples/00000500.png``, those of the newest update, sorted."""
    pictures = [key for key in keys if key.endswith(".png") and key.count("/") == 2]
    newest = max((key.rpartition("/")[2] for key in pictures), default="")
    return sorted(key for key in pictures if key.endswith(f"/{newest}"))


def png(picture: Tensor) -> bytes:
    """Encode a picture (3, H, W) uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy())).save(buffer, "PNG")
    return buffer.getvalue()
