"""Options and steps that all commands share which draw a picture with a trained run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from unbraid.cluster.commands.options import runs_storage_option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unbraid.trainers.config.schema import SystemConfig

Config = TypeVar("Config", bound="SystemConfig")
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


def write_picture(picture: Tensor, output: Path | None, command: str) -> None:
    """Write a picture as PNG, atomically, and print its name and size.

    Args:
        picture: (C, H, W).
        output: the file; None: ``COMMAND.png``.
    """
    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.runs.pictures import png

    path = output or Path(f"{command}.png")
    FolderStore(path.parent, create=True).put(path.name, png(picture))
    click.echo(f"{path}: {picture.shape[2]}x{picture.shape[1]}")
