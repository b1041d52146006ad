"""Options and steps that all commands share which draw a picture with a trained run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from unbraid.cluster.commands.options import runs_storage_option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unbraid.trainers.config.schema import SystemConfig
    from unbraid.trainers.use.images import Images

WRITERS = 4
WRITTEN_AT_ONCE = 32
"""Images that a writer takes at a time."""
MOST_WAITING = 32
"""Parts of batches that wait for a writer; then drawing waits."""
SECONDS_BETWEEN_LINES = 10.0

Config = TypeVar("Config", bound="SystemConfig")
count_option = click.option(
    "--count", "number", type=click.IntRange(1), help="Write so many single PNGs into the folder --output instead of a picture."
)
resize_option = click.option("--resize", is_flag=True, help="Resize and convert images of another size or mode.")
seed_option = click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of what is drawn.")


def picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that draws a picture: ``run``, ``storage``, ``output``, ``seed`` and ``url`` of the data."""
    for option in (
        click.option("--data", "url", help="Packed set to take images from.  [default: the run's]"),
        seed_option,
        click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="PNG to write.  [default: COMMAND.png]"),
        runs_storage_option,
        click.argument("run"),
    ):
        command = option(command)
    return command


def device() -> torch.device:
    """Choose the device to draw on: a GPU where there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def with_data(config: Config, url: str | None) -> Config:
    """Return a configuration that takes images from another set; None leaves the set as it is."""
    if url is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"url": url})})


def moving_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--gif`` and ``--webp`` to a command whose picture has one step in each column: ``moving``, "" for a still one."""
    for kind in ("webp", "gif"):
        command = click.option(f"--{kind}", "moving", flag_value=kind, default=None, help=f"Write a moving {kind} instead.")(
            command
        )
    return command


def write_picture(picture: Tensor, output: Path | None, command: str, moving: str | None = "", columns: int = 1) -> None:
    """Write a picture, atomically, and print its name and size.

    Args:
        picture: (C, H, W).
        output: the file; None: ``COMMAND.png``.
        moving: ``gif`` or ``webp``, to show one column after the other; else a PNG.
        columns: of the picture.
    """
    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.runs.pictures import animation, png

    kind = moving or "png"
    path = output or Path(f"{command}.{kind}")
    content = animation(picture, columns, kind) if moving else png(picture)
    FolderStore(path.parent, create=True).put(path.name, content)
    width = picture.shape[2] // columns if moving else picture.shape[2]
    click.echo(f"{path}: {width}x{picture.shape[1]}" + (f", {columns} steps" if moving else ""))


def write_many(chunks: Iterator[Images], count: int, folder: Path) -> None:
    """Write images one by one into a folder, while the next are drawn; a line every few seconds says how far it is.

    Raises:
        ConfigError: when the folder is not empty.
        DataError: when it cannot be written.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.errors import ConfigError

    if FolderStore(folder, create=True).keys():
        raise ConfigError(f"{folder}: is not empty; name a new folder, nothing is overwritten")
    started = shown = time.monotonic()
    written, waiting = 0, deque[Future[object]]()
    with ThreadPoolExecutor(WRITERS) as pool:
        for images in chunks:
            for one in range(0, len(images), WRITTEN_AT_ONCE):
                waiting.append(pool.submit(images[one : one + WRITTEN_AT_ONCE].save, folder, written + one))
            written += len(images)
            while len(waiting) > MOST_WAITING:
                waiting.popleft().result()
            if time.monotonic() - shown > SECONDS_BETWEEN_LINES:
                shown = time.monotonic()
                rate = written / (shown - started)
                click.echo(f"{written:,} of {count:,} images, {rate:,.0f} images/s, {(count - written) / rate:,.0f} s left")
        for future in waiting:
            future.result()
    seconds = max(time.monotonic() - started, 1e-9)
    click.echo(f"{folder}: {written:,} images, {written / seconds:,.0f} images/s")
