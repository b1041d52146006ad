"""``unbraid generate``: what trained systems are for. Each system's uses are a module of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unbraid.trainers.config.schema import SystemConfig

Config = TypeVar("Config", bound="SystemConfig")


@click.group()
def generate() -> None:
    """Draw with trained systems.

    \b
    Examples:
      unbraid generate dpig swap RUN --factor foreground
      unbraid generate cdd translate RUN --from x
    """


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every use takes that draws a picture, see :func:`write_picture`."""
    for option in (
        click.option("--data", "url", help="Packed set to take images from.  [default: the run's]"),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of what is drawn."),
        click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="PNG to write.  [default: USE.png]"),
        click.option("--storage", default="runs", show_default=True, help="Folder or s3:// prefix that holds runs."),
        click.argument("run"),
    ):
        command = option(command)
    return command


def device() -> torch.device:
    """Where a command draws."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def with_data(config: Config, url: str | None) -> Config:
    """A configuration that takes images from another set."""
    if url is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"url": url})})


def write_picture(picture: Tensor, output: Path | None, use: str) -> None:
    """As PNG, atomically."""
    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.runs.pictures import png

    path = output or Path(f"{use}.png")
    FolderStore(path.parent, create=True).put(path.name, png(picture))
    click.echo(f"{path}: {picture.shape[2]}x{picture.shape[1]}")
