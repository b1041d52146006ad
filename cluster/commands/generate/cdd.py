"""``unbraid generate cdd``: translate, mix and retrieve images of two domains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.generate.pictures import (
    count_option,
    device,
    moving_options,
    picture_options,
    resize_option,
    with_data,
    write_many,
    write_picture,
)
from unbraid.cluster.local.services import use_local_services
from unbraid.models.domains import DOMAINS

if TYPE_CHECKING:
    from torch import Tensor

    from unbraid.models.random import RandomSource
    from unbraid.trainers.paired.pairs import Pairs
    from unbraid.trainers.systems.cdd.config import Config
    from unbraid.trainers.systems.cdd.inference import CDD
    from unbraid.trainers.systems.cdd.model import Model
    from unbraid.trainers.use.images import Images

AT_ONCE = 64
"""Held-out images that are translated at a time."""


@click.group()
def cdd() -> None:
    """Draw pairs of images by their shared part S and their exclusive parts E.

    RUN is a run of cdd; it translates both ways. Images are held-out ones of its data set, or of --data.

    \b
    Examples:
      unbraid generate cdd translate RUN --from x --samples 8
      unbraid generate cdd transfer RUN --from y
      unbraid generate cdd interpolate RUN --moving shared
      unbraid generate cdd retrieve RUN --from x --top 5
    """


def pair_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that draws pairs."""
    rows = click.option("--rows", default=6, show_default=True, type=click.IntRange(1, 64), help="Images to show.")
    return picture_options(rows(command))


direction = click.option(
    "--from", "domain", default="x", show_default=True, type=click.Choice(DOMAINS), help="The domain to start from."
)


@cdd.command()
@pair_options
@direction
@click.option("--samples", default=8, show_default=True, type=click.IntRange(1, 64), help="Translations of each image.")
@click.option("--image", "files", multiple=True, type=click.Path(path_type=Path), help="Your own image; may repeat.")
@resize_option
@count_option
def translate(domain: str, samples: int, files: tuple[Path, ...], resize: bool, number: int | None, **options: Any) -> None:
    """Translate images with several draws of E. The image is on the left, then comes a column for each draw.

    \b
    Examples:
      unbraid generate cdd translate RUN --count 5000 --samples 1 --output ./translated
      unbraid generate cdd translate RUN --from y --samples 12 --seed 3
      unbraid generate cdd translate RUN --from x --image facade.png --image other.jpg --resize
    """
    from unbraid.trainers.step.images import normalised
    from unbraid.trainers.systems.cdd.sheets import translation_sheet
    from unbraid.trainers.use.images import pixels_of

    def draw(model: Model, images: Tensor, random: RandomSource) -> Tensor:
        return translation_sheet(model, images, domain, samples, random)

    if number is not None:
        own = pixels_of(files, _load(options)[0].image.shape, resize) if files else None
        write_many(_translated(options, domain, samples, own, number), number, options["output"] or Path("translate"))
        return
    if not files:
        _draw("translate", options, options["rows"], lambda m, pairs, random: draw(m, pairs.images[domain], random))
        return
    model, _ = _load(options)
    images = normalised(pixels_of(files, model.image.shape, resize).to(model.device))
    write_picture(draw(model, images, _random(options, model)), options["output"], "translate")


@cdd.command()
@pair_options
@direction
def exclusive(domain: str, **options: Any) -> None:
    """Draw each image's partner from E alone. Rows are the image, its partner, and what the exclusive decoder draws.

    With gradient reversal it should not look like the partner; the preset cdd-mnist-cdcb-small-without-reversal trains a run
    without.

    \b
    Example:
      unbraid generate cdd exclusive RUN --from y --rows 10
    """
    from unbraid.trainers.systems.cdd.sheets import exclusive_sheet

    _draw("exclusive", options, options["rows"], lambda model, pairs, random: exclusive_sheet(model, pairs, domain))


@cdd.command()
@pair_options
@direction
@click.option("--references", default=6, show_default=True, type=click.IntRange(1, 64), help="Images that give their E.")
def transfer(domain: str, references: int, **options: Any) -> None:
    """Translate images with the E of references. Rows keep S, columns give E.

    \b
    Example:
      unbraid generate cdd transfer RUN --from x --references 8
    """
    from unbraid.trainers.systems.cdd.sheets import transfer_sheet

    rows = options["rows"]

    def draw(model: Model, pairs: Pairs, random: RandomSource) -> Tensor:
        if len(pairs) < rows + references:
            raise click.ClickException(
                f"--rows {rows} --references {references}: only {len(pairs)} held-out pairs are there; ask for fewer"
            )
        return transfer_sheet(model, pairs[:rows], domain, pairs[rows:])

    _draw("transfer", options, rows + references, draw)


@cdd.command()
@pair_options
@click.option("--domain", default="x", show_default=True, type=click.Choice(DOMAINS), help="Of the images.")
@click.option(
    "--moving",
    "part",
    default="both",
    show_default=True,
    type=click.Choice(["exclusive", "shared", "both"]),
    help="Part that changes.",
)
@click.option("--columns", default=8, show_default=True, type=click.IntRange(2, 64), help="Steps of each row.")
@moving_options
def interpolate(domain: str, part: Any, columns: int, **options: Any) -> None:
    """Go from one image of a domain to another in steps. E, S or both change in equal steps.

    \b
    Examples:
      unbraid generate cdd interpolate RUN --columns 30 --webp
      unbraid generate cdd interpolate RUN --moving exclusive
      unbraid generate cdd interpolate RUN --moving shared --domain y
    """
    from unbraid.trainers.systems.cdd.sheets import interpolation_sheet

    rows = options["rows"]

    def draw(model: Model, pairs: Pairs, random: RandomSource) -> Tensor:
        if len(pairs) < 2:
            raise click.ClickException("the held-out split has one pair only: interpolation needs two")
        return interpolation_sheet(model, pairs, domain, part, columns)

    _draw("interpolate", options | {"columns": columns + 2}, 2 * rows, draw)


@cdd.command()
@pair_options
@direction
@click.option("--top", default=5, show_default=True, type=click.IntRange(1, 20), help="Images to show for each query.")
@click.option("--gallery", default=500, show_default=True, type=click.IntRange(2, 5000), help="Images to search.")
@click.option(
    "--by", default="shared", show_default=True, type=click.Choice(["shared", "exclusive", "pixels"]), help="What is compared."
)
def retrieve(domain: str, top: int, gallery: int, by: Any, **options: Any) -> None:
    """Find images' partners in the other domain. After the query come the nearest, framed green or red: right or wrong.

    \b
    Examples:
      unbraid generate cdd retrieve RUN
      unbraid generate cdd retrieve RUN --from y --by pixels --top 10
    """
    from unbraid.trainers.systems.cdd import sheets

    def draw(model: Model, pairs: Pairs, random: RandomSource) -> Tensor:
        if top > len(pairs):
            raise click.ClickException(f"--top {top}: only {len(pairs)} images can be searched; ask for fewer")
        found = sheets.retrieve(model, pairs, domain, options["rows"], top, by)
        first = int(found.right[:, 0].sum())
        click.echo(f"{first} of {len(found.right)} queries find their partner first among {len(pairs)} images by {by}")
        return sheets.retrieval_sheet(pairs, domain, found)

    _draw("retrieve", options, gallery, draw)


def _draw(command: str, options: dict[str, Any], count: int, draw: Callable[[Model, Pairs, RandomSource], Tensor]) -> None:
    """Load the run and pairs of the split that it reports, draw, and write the picture.

    Args:
        command: its name, after which the file is called by default.
        count: of pairs.
    """
    from unbraid.trainers.paired.pairs import held_out

    model, config = _load(options)
    config = with_data(config, options["url"])
    pairs = held_out(config, model.device, config.data.reported_split, count)
    picture = draw(model, pairs, _random(options, model))
    write_picture(picture, options["output"], command, options.get("moving"), options.get("columns", 1))


def _translated(options: dict[str, Any], domain: str, samples: int, own: Tensor | None, count: int) -> Iterator[Images]:
    """Translations of a person's images, or of those of the split that the run reports, until there are enough of them."""
    from unbraid.models.domains import OTHER
    from unbraid.trainers.data import EvaluationData

    model = _trained(options)
    data = EvaluationData(with_data(model.config, options["url"]), model.device, model.config.data.reported_split)
    left, number = count, 0
    while left > 0:
        for images in [own] if own is not None else (batch[domain] for batch in data.held_out(batch=AT_ONCE)):
            drawn = model.translate(
                images[: -(-left // samples)], to=OTHER[domain], samples=samples, seed=options["seed"] + number
            )
            drawn = drawn[:left]
            left, number = left - len(drawn), number + 1
            yield drawn
            if left <= 0:
                return


def _trained(options: dict[str, Any]) -> CDD:
    from unbraid.trainers.systems.cdd.inference import CDD
    from unbraid.trainers.use.run import open_trained

    use_local_services()
    model = open_trained(options["run"], options["storage"], str(device()), ("cdd",))
    assert isinstance(model, CDD)
    return model


def _load(options: dict[str, Any]) -> tuple[Model, Config]:
    from unbraid.trainers.systems.cdd.config import Config

    model = _trained(options)
    assert isinstance(model.config, Config)
    return model.networks, model.config


def _random(options: dict[str, Any], model: Model) -> RandomSource:
    from unbraid.models.random import RandomSource

    return RandomSource(options["seed"], model.device)
