"""Draws parts of bodies as shaded, anti-aliased shapes on a canvas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.synthetic.people.appearance import Colour, Garment

Floats = NDArray[np.float32]


@dataclass
class Canvas:
    """Holds what has been drawn so far.

    Attributes:
        pixels: (H, W, 3) in [0, 1].
        silhouette: (H, W) share of each pixel that the body covers.
    """

    pixels: Floats
    silhouette: Floats


@dataclass(frozen=True)
class Patch:
    """Describes the pixels of one part.

    Attributes:
        box: rows and columns on the canvas.
        cover: (h, w) share of each pixel that is covered.
        along: (h, w) 0 at the part's beginning, 1 at its end.
        across: (h, w) −1 at its left edge, 1 at its right, looking from beginning to end downwards.
    """

    box: tuple[slice, slice]
    cover: Floats
    along: Floats
    across: Floats


def spindle(
    shape: tuple[int, ...], start: Sequence[float], end: Sequence[float], widths: Sequence[float], flat: float = 1.0
) -> Patch | None:
    """Shape a rounded part from ``start`` to ``end`` (row, column in pixels).

    Args:
        shape: of the canvas.
        widths: half widths at points spread evenly from start to end.
        flat: above 1, the rounded ends are shallower.

    Returns:
        None when the part lies outside of the canvas.
    """
    (r0, c0), (r1, c1) = start, end
    length = max(math.hypot(r1 - r0, c1 - c0), 1e-3)
    down, right = (r1 - r0) / length, (c1 - c0) / length
    reach = max(widths) + 1
    top, bottom = max(int(min(r0, r1) - reach), 0), min(int(max(r0, r1) + reach) + 2, shape[0])
    left, stop = max(int(min(c0, c1) - reach), 0), min(int(max(c0, c1) + reach) + 2, shape[1])
    if top >= bottom or left >= stop:
        return None
    row = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(r0)
    column = np.arange(left, stop, dtype=np.float32)[None, :] - np.float32(c0)
    u = row * np.float32(down) + column * np.float32(right)
    v = column * np.float32(down) - row * np.float32(right)
    inside = np.clip(u, 0, np.float32(length))
    along = inside * np.float32(1 / length)
    if len(widths) == 2:
        width = np.float32(widths[0]) + along * np.float32(widths[1] - widths[0])
    else:
        width = np.interp(along, np.linspace(0, 1, len(widths)), widths).astype(np.float32)
    over = (u - inside) * np.float32(flat)
    cover = np.clip(0.5 + width - np.sqrt(over * over + v * v), 0, 1)
    return Patch((slice(top, bottom), slice(left, stop)), cover, along, np.clip(v / width, -1, 1))


def paint(canvas: Canvas, patch: Patch | None, colour: Colour | Floats, belongs: bool = True) -> None:
    """Draw a shaded patch over the canvas.

    Args:
        colour: (3,) or (h, w, 3).
        belongs: whether the patch is part of the body; otherwise it is part of the scene and hides the body.
    """
    if patch is None:
        return
    cover = patch.cover[..., None]
    target = canvas.pixels[patch.box]
    target += cover * (colour * shading(patch)[..., None] - target)
    silhouette = canvas.silhouette[patch.box]
    if belongs:
        np.maximum(silhouette, patch.cover, out=silhouette)
    else:
        silhouette *= 1 - patch.cover


def shading(patch: Patch) -> Floats:
    """Compute (h, w): light from the upper left on a round part."""
    s = patch.across
    lit: Floats = np.float32(0.62) + np.float32(0.38) * np.sqrt(1 - np.float32(0.92) * s * s) - np.float32(0.13) * s
    return lit


def cloth(garment: Garment, patch: Patch, yaw: float, length: float = 1.0) -> Floats:
    """Compute (h, w, 3) or (3,): the garment's pattern, which turns with the body.

    Args:
        yaw: of the body, in radians.
        length: of the part in torso lengths, so that bands are equally wide on all parts.
    """
    if garment.pattern == "plain":
        return garment.colour
    angle = np.arcsin(patch.across) + np.float32(yaw)
    bands = np.floor(patch.along * np.float32(2 * garment.scale * length)) % 2
    stripes = np.floor(angle * np.float32(garment.scale * 2 / math.pi)) % 2
    if garment.pattern == "rings":
        amount = bands
    elif garment.pattern == "stripes":
        amount = stripes
    elif garment.pattern == "checks":
        amount = (bands + stripes) / 2
    elif garment.pattern == "block":
        amount = (patch.along > 0.5).astype(np.float32)
    else:
        front = np.cos(angle) > 0.75
        amount = (front & (patch.along > 0.2) & (patch.along < 0.5)).astype(np.float32)
    mixed: Floats = garment.colour + amount[..., None].astype(np.float32) * (garment.second - garment.colour)
    return mixed
