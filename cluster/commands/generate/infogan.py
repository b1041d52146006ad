"""``unbraid generate infogan``: draw by codes, show what each code does, and read codes from images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.generate.pictures import (
    count_option,
    moving_options,
    resize_option,
    seed_option,
    write_many,
    write_picture,
)
from unbraid.cluster.commands.options import runs_storage_option
from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.trainers.systems.infogan.inference import InfoGAN

output_option = click.option("--output", type=click.Path(path_type=Path), help="File to write.  [default: COMMAND.png]")
set_option = click.option("--set", "words", multiple=True, metavar="CODE=VALUE", help="A number, or LOW..HIGH; may repeat.")
rows_option = click.option(
    "--rows", default=5, show_default=True, type=click.IntRange(1, 64), help="Draws of what does not vary."
)


def drawing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what all commands take that draw by codes: ``run``, ``storage``, ``output``, ``seed`` and ``words`` of codes."""
    for option in (set_option, seed_option, output_option, runs_storage_option, click.argument("run")):
        command = option(command)
    return command


@click.group()
def infogan() -> None:
    """Draw by codes, show what each code does, and read codes from images.

    RUN is a run of infogan, by name, folder or URL, or an export of one.

    \b
    Examples:
      unbraid generate infogan sample RUN --set categorical_0=3 --set continuous_1=-2..2
      unbraid generate infogan sample RUN --count 10000 --output ./drawn
      unbraid generate infogan traverse RUN --code continuous_0 --gif
      unbraid generate infogan read RUN --image seven.png --resize
      unbraid generate infogan information RUN RUN_PLAIN
    """


@infogan.command()
@drawing_options
@count_option
@click.option("--columns", default=10, show_default=True, type=click.IntRange(1, 64), help="Of the picture, and as many rows.")
def sample(
    run: str,
    storage: str,
    output: Path | None,
    seed: int,
    words: tuple[str, ...],
    number: int | None,
    columns: int,
) -> None:
    """Draw images. What is not set of the codes is drawn from their priors.

    \b
    Examples:
      unbraid generate infogan sample RUN
      unbraid generate infogan sample RUN --set categorical_0=3 --set continuous_1=-2..2 --seed 1
      unbraid generate infogan sample RUN --count 10000 --output ./drawn
    """
    from unbraid.trainers.systems.infogan.inference import parse_values

    values = parse_values(words)
    model = _open(run, storage)
    if number is not None:
        write_many(model.stream(number, seed=seed, **values), number, output or Path("sample"))
        return
    write_picture(model.sample(columns**2, seed=seed, **values).picture(columns), output, "sample")


@infogan.command()
@drawing_options
@moving_options
@rows_option
@click.option("--code", "codes", multiple=True, help="Name of a code, such as categorical_0; may repeat.  [default: all]")
@click.option("--from", "low", type=float, default=-2.0, show_default=True, help="Of a continuous code; its prior is -1 to 1.")
@click.option("--to", "high", type=float, default=2.0, show_default=True, help="Of a continuous code.")
@click.option("--steps", default=11, show_default=True, type=click.IntRange(2, 256), help="Of a continuous code.")
def traverse(run: str, storage: str, output: Path | None, seed: int, codes: tuple[str, ...], **options: Any) -> None:
    """Vary one code along the columns and hold the rest of each row, as figures 2 to 6 of the paper do.

    Several codes are below each other. A categorical code has a column for each value.

    \b
    Examples:
      unbraid generate infogan traverse RUN
      unbraid generate infogan traverse RUN --code continuous_1 --rows 8 --from -1 --to 1 --seed 3
      unbraid generate infogan traverse RUN --code continuous_1 --set categorical_0=3 --steps 40 --webp
    """
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.systems.infogan.inference import parse_values
    from unbraid.trainers.systems.infogan.uses import below_each_other

    values = parse_values(options["words"])
    model = _open(run, storage)
    grids = [
        model.traverse(
            code, rows=options["rows"], steps=options["steps"], low=options["low"], high=options["high"], seed=seed, **values
        )
        for code in codes or model.codes
    ]
    columns = {grid.columns for grid in grids}
    if options["moving"] and len(columns) > 1:
        raise ConfigError("--gif, --webp: these codes have different numbers of steps; name one with --code")
    write_picture(below_each_other([g.picture() for g in grids]), output, "traverse", options["moving"], max(columns))


@infogan.command()
@drawing_options
@moving_options
@rows_option
@click.option("--steps", default=9, show_default=True, type=click.IntRange(2, 256), help="Of each row.")
def interpolate(run: str, storage: str, output: Path | None, seed: int, rows: int, steps: int, **options: Any) -> None:
    """Go from one draw to another in equal steps of noise and continuous codes; each row keeps its categorical codes.

    \b
    Examples:
      unbraid generate infogan interpolate RUN --rows 8
      unbraid generate infogan interpolate RUN --set categorical_0=3 --steps 30 --gif
    """
    from unbraid.trainers.systems.infogan.inference import parse_values

    values = parse_values(options["words"])
    images = _open(run, storage).interpolate(rows=rows, steps=steps, seed=seed, **values)
    write_picture(images.picture(steps), output, "interpolate", options["moving"], steps)


@infogan.command()
@click.argument("run")
@runs_storage_option
@output_option
@click.option("--code", default="categorical_0", show_default=True, help="Name of a categorical code.")
@click.option("--images", default=2000, show_default=True, type=click.IntRange(1, 100_000), help="Held-out images to read.")
@click.option("--data", "url", help="Packed set to take images from.  [default: the run's]")
def sort(run: str, storage: str, output: Path | None, code: str, images: int, url: str | None) -> None:
    """Sort real images by what Q reads: a row for each class of a code, the surest first.

    \b
    Examples:
      unbraid generate infogan sort RUN
      unbraid generate infogan sort RUN --code categorical_1 --data s3://bucket/other
    """
    from unbraid.cluster.commands.generate.pictures import with_data
    from unbraid.trainers.systems.infogan.uses import sorted_by

    model = _open(run, storage)
    write_picture(sorted_by(model, with_data(model.config, url), code, images), output, "sort")


@infogan.command()
@click.argument("run")
@runs_storage_option
@output_option
@click.option("--image", "files", multiple=True, required=True, type=click.Path(path_type=Path), help="A file; may repeat.")
@resize_option
def read(run: str, storage: str, output: Path | None, files: tuple[Path, ...], resize: bool) -> None:
    """Read the codes of images: a table, and a picture of each image beside what is drawn with the codes that were read.

    \b
    Example:
      unbraid generate infogan read RUN --image seven.png --image nine.jpg --resize
    """
    from unbraid.trainers.systems.infogan.uses import reading_picture
    from unbraid.trainers.use.images import Images, pixels_of

    model = _open(run, storage)
    images = Images(pixels_of(files, model.networks.sizes.image.shape, resize))
    reading = model.read(images)
    table = reading.table()
    table.insert(0, "image", [str(file) for file in files])
    click.echo(table.to_string(index=False, float_format=lambda number: f"{number:.3f}"))
    write_picture(reading_picture(model, images, reading), output, "read")


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


def _open(run: str, storage: str) -> InfoGAN:
    from unbraid.trainers.systems.infogan.inference import InfoGAN
    from unbraid.trainers.use.run import open_trained

    use_local_services()
    model = open_trained(run, storage, systems=("infogan",))
    assert isinstance(model, InfoGAN)
    return model
