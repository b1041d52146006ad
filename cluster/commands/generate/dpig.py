"""``unbraid generate dpig``: draw people by their foreground, background and pose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.generate.pictures import (
    count_option,
    device,
    moving_options,
    picture_options,
    seed_option,
    with_data,
    write_many,
    write_picture,
)
from unbraid.cluster.commands.options import runs_storage_option
from unbraid.cluster.local.services import use_local_services
from unbraid.models.dpig.specs import FACTORS

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.models.random import RandomSource
    from unbraid.trainers.systems.dpig.model import Model
    from unbraid.trainers.systems.dpig.people import People

FACTORED = ("dpig.mapping", "dpig.appearance")
"""Systems whose models take people apart into factors."""
POSING = (*FACTORED, "dpig.pg2")
"""Systems whose models draw people in other poses."""


@click.group()
def dpig() -> None:
    """Draw people by their foreground, background and pose.

    RUN is a run of stage II; commands that need no noise (reconstruct, transfer, swap) also take stage I's appearance run.
    transfer also takes a run of the baseline PG².

    \b
    Examples:
      unbraid generate dpig swap RUN --factor pose
      unbraid generate dpig sample RUN --factor all --seed 3 --output people.png
      unbraid generate dpig export RUN ./virtual --identities 500 --images 8
    """


def people_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that draws images of people."""
    count = click.option("--people", "count", default=6, show_default=True, type=click.IntRange(2, 64), help="Images to show.")
    return picture_options(count(command))


@dpig.command()
@people_options
def reconstruct(**options: Any) -> None:
    """Reconstruct images of people. The image is above, its reconstruction below.

    \b
    Example:
      unbraid generate dpig reconstruct RUN --people 12
    """
    from unbraid.trainers.systems.dpig import uses

    _draw("reconstruct", options, lambda model, people, source: uses.reconstruct(model, people))


@dpig.command()
@people_options
@click.option(
    "--factor", default="all", show_default=True, type=click.Choice([*FACTORS, "all"]), help="Factor to draw from noise."
)
@click.option("--columns", default=10, show_default=True, type=click.IntRange(1, 64), help="Draws of each image.")
@count_option
def sample(factor: str, columns: int, number: int | None, **options: Any) -> None:
    """Draw one factor of real people from noise, or all factors.

    \b
    Examples:
      unbraid generate dpig sample RUN
      unbraid generate dpig sample RUN --factor background --people 4
      unbraid generate dpig sample RUN --count 10000 --output ./people
    """
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.systems.dpig import uses

    if number is not None:
        if factor != "all":
            raise ConfigError("--count: draws people from noise in all factors; leave --factor out")
        folder, model = options["output"] or Path("sample"), _trained(options)
        write_many(model.stream(number, seed=options["seed"]), number, folder)
        return
    _draw("sample", options, lambda model, people, source: uses.sample(model, people, factor, columns, source))


@dpig.command()
@people_options
@click.option("--image", "files", multiple=True, type=click.Path(path_type=Path), help="Your own photograph; may repeat.")
@click.option(
    "--keypoints", "poses", multiple=True, type=click.Path(path_type=Path), help="JSON file of each photograph's keypoints."
)
@click.option("--target", type=click.Path(path_type=Path), help="JSON file of poses.  [default: those of held-out people]")
@click.option("--resize", is_flag=True, help="Resize photographs of another size, and their keypoints with them.")
def transfer(files: tuple[Path, ...], poses: tuple[Path, ...], target: Path | None, resize: bool, **options: Any) -> None:
    """Draw each person in the pose of the next. Rows are the person, the pose, the result and the next person.

    With --image, each photograph is drawn in several poses, one a column. A file of keypoints is what OpenPose writes, or a
    list of 18 [row, column, found]. RUN may be of PG² (pg2-people-small, pg2-market1501).

    \b
    Examples:
      unbraid generate dpig transfer RUN
      unbraid generate dpig transfer RUN --image me.jpg --keypoints me_keypoints.json --resize
    """
    from unbraid.trainers.systems.dpig import uses

    if files or poses or target:
        _transfer_own(files, poses, target, resize, options)
        return
    _draw("transfer", options, lambda model, people, source: uses.transfer(model, people), POSING)


@dpig.command()
@people_options
@click.option("--factor", default="foreground", show_default=True, type=click.Choice(FACTORS), help="Factor to exchange.")
def swap(factor: str, **options: Any) -> None:
    """Exchange one factor between people. Columns give the factor, rows all others.

    \b
    Example:
      unbraid generate dpig swap RUN --factor background
    """
    from unbraid.trainers.systems.dpig import uses

    _draw("swap", options, lambda model, people, source: uses.swap(model, people, factor))


@dpig.command()
@people_options
@click.option("--factor", multiple=True, type=click.Choice(FACTORS), help="Factor to change; may repeat.  [default: all]")
@click.option("--columns", default=8, show_default=True, type=click.IntRange(2, 64), help="Steps of each row.")
@click.option("--real", is_flag=True, help="Between images of real people, whose embeddings are inverted to noise.")
@moving_options
def interpolate(factor: tuple[str, ...], columns: int, real: bool, moving: str | None, **options: Any) -> None:
    """Go from one person to another in small steps.

    \b
    Examples:
      unbraid generate dpig interpolate RUN --columns 30 --gif
      unbraid generate dpig interpolate RUN --factor pose
      unbraid generate dpig interpolate RUN --real --people 8
    """
    from unbraid.trainers.systems.dpig import uses

    def draw(model: Model, people: People, source: RandomSource) -> Tensor:
        changing = factor or model.factors
        if not real:
            return uses.interpolate(model, len(people), changing, columns, source)
        picture, left = uses.interpolate_people(model, people, changing, columns)
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in left.items())
        click.echo(f"share of the embeddings that no noise gives: {shares}")
        return picture

    _draw("interpolate", options | {"moving": moving, "columns": columns + 2 * real}, draw)


@dpig.command()
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--identities", default=100, show_default=True, type=click.IntRange(2, 9999), help="Identities to draw.")
@click.option("--images", default=8, show_default=True, type=click.IntRange(1), help="Images of each identity.")
@seed_option
@runs_storage_option
def export(run: str, folder: Path, identities: int, images: int, seed: int, storage: str) -> None:
    """Write a virtual re-identification set to FOLDER. It has Market-1501's layout, and keypoints.

    \b
    Example:
      unbraid generate dpig export RUN ./virtual --identities 500 --images 8
      unbraid data pack market1501 ./virtual --keypoints ./virtual/keypoints.csv --keypoint-size 128x64
    """
    from unbraid.models.random import RandomSource
    from unbraid.trainers.systems.dpig import uses

    use_local_services()
    model, _ = _load(run, storage)
    counts = uses.export(model, folder, identities, images, RandomSource(seed, model.device), click.echo)
    click.echo(f"{folder}: " + ", ".join(f"{count:,} in {name}" for name, count in counts.items()))


@dpig.command()
@click.argument("run")
@click.argument("controls", nargs=-1)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("leakage.png"),
    show_default=True,
    help="PNG to write.",
)
@runs_storage_option
def leakage(run: str, controls: tuple[str, ...], output: Path, storage: str) -> None:
    """Show what a change of one factor does to the others' pixels, in RUN and in CONTROLS of equal size.

    All are finished runs of stage I on the same set of made people. Controls lack the factors in the encoder, in the decoder
    or in both: the presets dpig-people-small-appearance-plain-encoder, -plain-decoder and -plain.

    \b
    Example:
      unbraid generate dpig leakage RUN RUN_PLAIN_ENCODER RUN_PLAIN_DECODER
    """
    from unbraid.trainers.systems.dpig.controls import compare

    use_local_services()
    picture, lines = compare(run, controls, storage)
    for line in lines:
        click.echo(line)
    write_picture(picture, output, "leakage")


def _draw(
    command: str,
    options: dict[str, Any],
    draw: Callable[[Model, People, RandomSource], Tensor],
    systems: tuple[str, ...] = FACTORED,
) -> None:
    """Load the run and people of the split that it reports, draw, and write the picture.

    Args:
        command: its name, after which the file is called by default.
        systems: whose runs will do.
    """
    from unbraid.models.random import RandomSource
    from unbraid.trainers.data import EvaluationData
    from unbraid.trainers.systems.dpig.people import shown_people

    use_local_services()
    model, config = _load(options["run"], options["storage"], systems)
    config = with_data(config, options["url"])
    people = shown_people(EvaluationData(config, model.device, config.data.reported_split), options["count"])
    picture = draw(model, people, RandomSource(options["seed"], model.device))
    write_picture(picture, options["output"], command, options.get("moving"), options.get("columns", 1))


def _load(run: str, storage: str, systems: tuple[str, ...] = FACTORED) -> tuple[Any, Any]:
    """The networks of a run or of an export, and its configuration."""
    from unbraid.trainers.use.run import open_trained

    model = open_trained(run, storage, str(device()), systems)
    return model.networks, model.config


def _trained(options: dict[str, Any], systems: tuple[str, ...] = FACTORED) -> Any:
    """The model of a run or of an export, as its users hold it."""
    from unbraid.trainers.use.run import open_trained

    use_local_services()
    return open_trained(options["run"], options["storage"], str(device()), systems)


def _transfer_own(
    files: tuple[Path, ...], poses: tuple[Path, ...], target: Path | None, resize: bool, options: dict[str, Any]
) -> None:
    """Draw the photographs of a command in several poses, a row each: the photograph, then a column for each pose."""
    import torch

    from unbraid.trainers.data import EvaluationData
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.systems.dpig.people import shown_people
    from unbraid.trainers.systems.dpig.trained import read_keypoints
    from unbraid.trainers.use.images import Images, pixels_of

    if len(files) != len(poses) or not files:
        raise ConfigError(
            f"--image is given {len(files)} times and --keypoints {len(poses)} times; give one file for each image"
        )
    model = _trained(options, POSING)
    config = with_data(model.config, options["url"])
    if target is not None:
        there = read_keypoints(target)
    else:
        there = shown_people(EvaluationData(config, model.device, config.data.reported_split), options["count"]).keypoints.cpu()
    rows = []
    for file, pose in zip(files, poses, strict=True):
        drawn = model.transfer([file] * len(there), [pose] * len(there), there, resize=resize)
        rows += [pixels_of(file, config.image_shape, resize), drawn.tensor]
    columns = 1 + len(there)
    write_picture(Images(torch.cat(rows), columns).picture(columns), options["output"], "transfer")
