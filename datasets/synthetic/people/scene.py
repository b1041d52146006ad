"""Samples and draws the factor *background*: a camera, and the part of its view that an image shows."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Picture = NDArray[np.float32]
"""(H, W, 3) in [0, 1]."""
WIDTH, HEIGHT = 4.0, 1.25
"""Size of a camera's whole view, in heights of an image."""
KINDS = ("street", "wall", "hall", "lawn")
GROUND = {"street": (0.42, 0.42, 0.43), "wall": (0.58, 0.54, 0.49), "hall": (0.72, 0.7, 0.66), "lawn": (0.33, 0.45, 0.22)}
BEYOND = {"street": (0.5, 0.55, 0.5), "wall": (0.62, 0.45, 0.36), "hall": (0.8, 0.8, 0.77), "lawn": (0.28, 0.38, 0.24)}


@dataclass(frozen=True)
class Background:
    """Describes one cut of one camera's view.

    Attributes:
        seed, camera: the view.
        left, top: of the cut, as shares of the room that the view leaves.
        mirrored: whether the cut is flipped left to right.
        light: factor on all channels.
        tint: (3,) factor on each channel.
        occluder: (column, half width, height, grey) of an object before the body, in image heights; mostly None.
    """

    seed: int
    camera: int
    left: float
    top: float
    mirrored: bool
    light: float
    tint: tuple[float, float, float]
    occluder: tuple[float, float, float, float] | None


def sample_background(rng: np.random.Generator, seed: int, camera: int, aspect: float) -> Background:
    """Sample a cut from the view of ``camera``."""
    occluder = None
    if rng.random() < 0.1:
        column = float(rng.choice([rng.uniform(0.0, 0.3), rng.uniform(0.7, 1.0)])) * aspect
        occluder = (column, float(rng.uniform(0.02, 0.1)), float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.1, 0.6)))
    red, blue = (float(f) for f in rng.normal(1.0, 0.025, 2))
    return Background(
        seed,
        camera,
        float(rng.random()),
        float(rng.random()),
        bool(rng.random() < 0.5),
        float(rng.uniform(0.8, 1.12)),
        (red, 1.0, blue),
        occluder,
    )


def draw_background(background: Background, height: int, width: int) -> Picture:
    """Draw a background, (height, width, 3)."""
    view = camera_view(background.seed, background.camera, height)
    top = round(background.top * (view.shape[0] - height))
    left = round(background.left * (view.shape[1] - width))
    cut = view[top : top + height, left : left + width]
    if background.mirrored:
        cut = cut[:, ::-1]
    factors: Picture = np.float32(background.light) * np.asarray(background.tint, np.float32)
    return cut * factors


@lru_cache(maxsize=64)
def camera_view(seed: int, camera: int, height: int) -> Picture:
    """Draw the whole view of a camera, (HEIGHT x ``height``, WIDTH x ``height``, 3)."""
    rng = np.random.default_rng([seed, 1, camera])
    kind = KINDS[int(rng.integers(len(KINDS)))]
    rows, columns = round(HEIGHT * height), round(WIDTH * height)
    y = np.arange(rows, dtype=np.float32)[:, None] / np.float32(height)
    x = np.arange(columns, dtype=np.float32)[None, :] / np.float32(height)
    horizon = float(rng.uniform(0.2, 0.5))
    ground = _ground(rng, kind, y, x, horizon)
    beyond = _beyond(rng, kind, y, x, horizon)
    view = np.where((y < horizon)[..., None], beyond, ground)
    for _ in range(int(rng.integers(6, 14))):
        _put_thing(rng, kind, view, y, x, horizon)
    view *= (1 - 0.12 * _noise(rng, rows, columns, 0.6, height))[..., None]  # patches of dirt and light
    slope, start = rng.uniform(-1, 1), rng.uniform(0, WIDTH)
    if rng.random() < 0.5:  # the shadow of a roof
        lit = np.clip((x + slope * y - start) * 12, 0, 1)
        view *= (0.68 + 0.32 * lit)[..., None]
    view *= (1.0 + 0.15 * (y / HEIGHT - 0.5))[..., None]
    pixels = Image.fromarray((np.clip(view, 0, 1) * 255).astype(np.uint8))
    blurred = pixels.filter(ImageFilter.GaussianBlur(height / 48))  # the lens is focused on the body before it
    return np.asarray(blurred, np.float32) / np.float32(255)


def _ground(rng: np.random.Generator, kind: str, y: Picture, x: Picture, horizon: float) -> Picture:
    """Draw what lies below the horizon."""
    colour = np.array(GROUND[kind]) * rng.uniform(0.75, 1.2) + rng.normal(0, 0.03, 3)
    rows, columns = y.shape[0], x.shape[1]
    height = round(rows / HEIGHT)
    grain = _noise(rng, rows, columns, 0.03 if kind != "lawn" else 0.05, height) - 0.5
    shade = 1 + (0.14 if kind != "lawn" else 0.3) * grain
    nearness = np.maximum(y - horizon + 0.12, 0.06)  # rows of tiles come closer towards the horizon
    if kind in ("wall", "hall", "street"):
        tiles = rng.uniform(3, 7)
        across = (x - WIDTH / 2) / nearness * 0.25 * tiles
        along = tiles / nearness * 0.4
        line = np.minimum(np.abs(across % 1 - 0.5), np.abs(along % 1 - 0.5)) < 0.035
        shade = shade * np.where(line, rng.uniform(0.72, 0.9), 1.0)
        if kind == "hall":
            shade = shade * np.where((np.floor(across) + np.floor(along)) % 2 > 0, rng.uniform(0.8, 1.0), 1.0)
    if kind in ("street", "lawn"):  # a kerb or a path
        edge = horizon + rng.uniform(0.1, 0.5) + rng.uniform(-0.1, 0.1) * x
        band = np.clip((0.1 - np.abs(y - edge)) * 40, 0, 1)[..., None]
        return np.asarray(shade[..., None] * colour * (1 - band) + band * np.array([0.66, 0.63, 0.58]), np.float32)
    return (shade[..., None] * colour).astype(np.float32)


def _beyond(rng: np.random.Generator, kind: str, y: Picture, x: Picture, horizon: float) -> Picture:
    """Draw what lies above the horizon: foliage, masonry, and windows or doors."""
    colour = np.array(BEYOND[kind]) * rng.uniform(0.7, 1.2) + rng.normal(0, 0.05, 3)
    rows, columns = y.shape[0], x.shape[1]
    height = round(rows / HEIGHT)
    if kind in ("street", "lawn"):  # leaves
        leaves = _noise(rng, rows, columns, 0.05, height) * 0.6 + _noise(rng, rows, columns, 0.2, height) * 0.4
        return ((0.55 + 0.9 * leaves)[..., None] * colour).astype(np.float32)
    shade = 1 + 0.1 * (_noise(rng, rows, columns, 0.05, height) - 0.5)
    if kind == "wall":
        course = rng.uniform(0.03, 0.07)
        shifted = x / (2.2 * course) + 0.5 * (np.floor(y / course) % 2)
        joint = (y / course % 1 < 0.16) | (shifted % 1 < 0.08)
        shade = shade * np.where(joint, 1.22, 1.0)
    picture = shade[..., None] * colour
    period = rng.uniform(0.5, 1.1)  # windows or doors
    opening = (np.abs(x / period % 1 - 0.5) < rng.uniform(0.15, 0.3)) & (y > rng.uniform(0, 0.12)) & (y < horizon - 0.03)
    dark = np.array([0.2, 0.24, 0.28]) * rng.uniform(0.6, 2.0)
    return np.where(opening[..., None], dark, picture).astype(np.float32)


def _put_thing(rng: np.random.Generator, kind: str, view: Picture, y: Picture, x: Picture, horizon: float) -> None:
    """Draw an object into the view, behind the body: a trunk, a pole, a bin, a parked car."""
    centre, foot = rng.uniform(0, WIDTH), horizon + rng.uniform(0.02, 0.3)
    tall = rng.random() < 0.45
    half, high = (rng.uniform(0.01, 0.03), rng.uniform(0.5, 1.2)) if tall else (rng.uniform(0.06, 0.3), rng.uniform(0.1, 0.3))
    colour = np.array([0.25, 0.19, 0.14]) if tall and kind == "lawn" else rng.uniform(0.1, 0.7, 3)
    edge = np.minimum(half - np.abs(x - centre), np.minimum(foot - y, y - foot + high)) * 60
    cover = np.clip(edge, 0, 1)[..., None]
    round_shade = (1 - 0.35 * np.clip((x - centre) / half, -1, 1))[..., None]
    view[:] = view * (1 - cover) + cover * colour * round_shade
    fall = np.clip(1 - ((x - centre) / (1.3 * half)) ** 2 - ((y - foot) / 0.03) ** 2, 0, 1) * 0.4
    view *= (1 - fall)[..., None]


def _noise(rng: np.random.Generator, rows: int, columns: int, cell: float, height: int) -> Picture:
    """Sample smooth noise in [0, 1] whose spots are about ``cell`` image heights wide."""
    pixels = max(cell * height, 1.0)
    grid = rng.random((max(2, round(rows / pixels)), max(2, round(columns / pixels))), dtype=np.float32)
    smooth = Image.fromarray(grid, "F").resize((columns, rows), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth, np.float32), 0, 1)
