"""``unbraid generate infogan``: show what each code does, and how much the codes tell while training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unbraid.cluster.commands.generate.pictures import device, seed_option, write_picture
from unbraid.cluster.commands.options import runs_storage_option
from unbraid.cluster.local.services import use_local_services

output_option = click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="PNG to write.  [default: COMMAND.png]"
)


@click.group()
def infogan() -> None:
    """Show what each code does, and how much the codes tell while training.

    \b
    Examples:
      unbraid generate infogan traverse RUN --code continuous_0 --range -2 2
      unbraid generate infogan information RUN RUN_PLAIN
    """


@infogan.command()
@click.argument("run")
@runs_storage_option
@output_option
@seed_option
@click.option("--code", "codes", multiple=True, help="Name of a code, such as categorical_0; may repeat.  [default: all]")
@click.option("--rows", default=5, show_default=True, type=click.IntRange(1, 64), help="Draws of what does not vary.")
@click.option("--columns", default=11, show_default=True, type=click.IntRange(2, 64), help="Steps of a continuous code.")
@click.option(
    "--range",
    "limits",
    nargs=2,
    type=float,
    default=(-2.0, 2.0),
    show_default=True,
    help="Of a continuous code; its prior is -1 1.",
)
def traverse(run: str, storage: str, output: Path | None, seed: int, codes: tuple[str, ...], **options: Any) -> None:
    """Vary one code along the columns and hold the rest of each row, as figures 2 to 6 of the paper do.

    Several codes are below each other. A categorical code has a column for each value.

    \b
    Examples:
      unbraid generate infogan traverse RUN
      unbraid generate infogan traverse RUN --code continuous_1 --rows 8 --range -1 1 --seed 3
    """
    from unbraid.models.random import RandomSource
    from unbraid.trainers.evaluate import open_model
    from unbraid.trainers.systems.infogan.uses import traverse as drawn

    use_local_services()
    model, _ = open_model(run, storage, device(), ("infogan",))
    picture = drawn(model, codes, options["rows"], options["columns"], options["limits"], RandomSource(seed, model.device))
    write_picture(picture, output, "traverse")


@infogan.command()
@click.argument("runs", nargs=-1, required=True)
@runs_storage_option
@output_option
@click.option("--code", default="categorical_0", show_default=True, help="Name of the code.")
def information(runs: tuple[str, ...], storage: str, output: Path | None, code: str) -> None:
    """Plot the bound L_I of one code over the updates of several RUNS, below its ceiling: figure 1 of the paper.

    The paper compares InfoGAN with a plain GAN beside which the same Q learns, here the preset infogan-mnist-plain.

    \b
    Example:
      unbraid generate infogan information RUN RUN_PLAIN --output figure-1.png
    """
    from unbraid.trainers.systems.infogan.uses import information_curves

    use_local_services()
    write_picture(information_curves(runs, storage, code), output, "information")
