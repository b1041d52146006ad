"""What is in a packed set, in words and in one picture, and whether it is whole."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.index import read_index
from datasets.shards import check_shard
from datasets.store import open_store
from datasets.stream import read_split

SHEET_COLUMNS = 20
SHEET_ROWS = 10


def inspect_set(url: str, sheet: Path | None, check: bool, report: Callable[[str], None]) -> int:
    """Report what a set holds; optionally check every shard and draw a contact sheet.

    Returns:
        The number of damaged shards, each reported.

    Raises:
        DataError: when there is no set, or an image cannot be decoded.
    """
    store = open_store(url)
    index = read_index(store)
    report(f"{index.name} at {store.url}")
    report(f"  image    {'x'.join(map(str, index.image)) if index.image else 'of several sizes'}")
    report(f"  classes  {', '.join(index.classes) or 'none'}")
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
                problem = check_shard(store, shard)
                if problem is not None:
                    broken += 1
                    report(f"  damaged: {problem}")
        report(f"  check    {'every shard is what the index says' if not broken else f'{broken} shards are damaged'}")
    if sheet is not None:
        draw_sheet(url, next(iter(index.splits)), sheet)
        report(f"  sheet    {sheet}")
    return broken


def draw_sheet(url: str, split: str, path: Path) -> None:
    """The first images of a split, each fitted into the first one's size, as PNG."""
    batches = read_split(url, split, SHEET_COLUMNS, SHEET_COLUMNS * SHEET_ROWS)
    images = [image.numpy().transpose(1, 2, 0) for batch in islice(batches, SHEET_ROWS) for image in batch["image"]]
    height, width = images[0].shape[:2]
    canvas = np.full((SHEET_ROWS * (height + 2), SHEET_COLUMNS * (width + 2), 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // SHEET_COLUMNS) * (height + 2), (i % SHEET_COLUMNS) * (width + 2)
        canvas[top : top + height, left : left + width] = image[:height, :width]
    Image.fromarray(canvas).save(path)
