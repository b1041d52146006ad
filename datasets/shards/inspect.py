"""Describes a packed set in words and in one picture, and checks that it is undamaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unbraid.datasets.shards.codec import decode_image, image_shape
from unbraid.datasets.shards.index import Field, read_index
from unbraid.datasets.shards.tar import Sample, check_shard, read_samples
from unbraid.datasets.store import open_store

SHEET_COLUMNS = 20
SHEET_ROWS = 10
SHEET_PIXELS = 1400
"""Limits of the contact sheet."""


def inspect_set(url: str, sheet: Path | None, check: bool, report: Callable[[str], None]) -> int:
    """Report what a set holds; check every shard and draw a contact sheet if asked to.

    Args:
        sheet: PNG file for the contact sheet; None draws none.
        check: whether to read every shard and compare its checksum.
        report: called with each line.

    Returns:
        The number of damaged shards, each reported.

    Raises:
        DataError: when there is no set, or an image cannot be decoded.
    """
    store = open_store(url)
    index = read_index(store)
    report(f"{index.name} at {store.url}")
    for field_name, f in index.fields.items():
        shape = "of several sizes" if f.shape is None else "x".join(map(str, f.shape)) or "one number"
        report(f"  {field_name:8} {f.kind}, {shape}")
    report(f"  classes  {', '.join(index.classes) or 'none'}")
    if index.attributes:
        report(f"  attributes  {', '.join(index.attributes)}")
    report(f"  licence  {index.licence}")
    report(f"  source   {index.source}")
    report(f"  digest   {index.digest}")
    for split, shards in index.splits.items():
        samples, size = sum(s.count for s in shards), sum(s.bytes for s in shards)
        report(f"  {split:8} {samples:,} images in {len(shards)} shards, {size / 1e6:.1f} MB")
    broken = 0
    if check:
        for shards in index.splits.values():
            for shard in shards:
                problem = check_shard(store, shard, len(index.fields))
                if problem is not None:
                    broken += 1
                    report(f"  damaged: {problem}")
        report(f"  check    {'every shard is what the index says' if not broken else f'{broken} shards are damaged'}")
    if sheet is not None:
        draw_sheet(url, next(iter(index.splits)), sheet)
        report(f"  sheet    {sheet}")
    return broken


def draw_sheet(url: str, split: str, path: Path) -> None:
    """Write the first images of a split as one PNG; several images of a sample are placed side by side."""
    store = open_store(url)
    index = read_index(store)
    images: list[NDArray[np.uint8]] = []
    for shard in index.shards(split):
        samples = read_samples(store, shard, len(index.fields), 0, min(shard.count, SHEET_COLUMNS * SHEET_ROWS - len(images)))
        images += [np.concatenate([_shown(s, f) for f in index.fields.values() if f.kind == "image"], axis=1) for s in samples]
        if len(images) >= SHEET_COLUMNS * SHEET_ROWS:
            break
    height, width = images[0].shape[:2]
    columns = max(1, min(SHEET_COLUMNS, SHEET_PIXELS // width))
    rows = -(-min(len(images), columns * SHEET_ROWS) // columns)
    canvas = np.full((rows * (height + 2), columns * (width + 2), 3), 255, np.uint8)
    for i, image in enumerate(images[: columns * rows]):
        top, left = (i // columns) * (height + 2), (i % columns) * (width + 2)
        shown = image[:height, :width]
        canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    Image.fromarray(canvas).save(path)


def _shown(sample: Sample, field: Field) -> NDArray[np.uint8]:
    """Decode one image of a sample as (H, W, 3)."""
    content = next(sample[extension] for extension in field.members if extension in sample)
    channels, height, width = image_shape(content)
    pixels = np.empty((height, width, channels), np.uint8)
    decode_image(content, pixels)
    return np.broadcast_to(pixels, (height, width, 3))
