"""``unbraid generate tally``: draw strokes, as many as are asked for."""

from __future__ import annotations

from pathlib import Path

import click

from unbraid.cluster.commands.generate.pictures import device, picture_options, with_data, write_picture
from unbraid.cluster.local.services import use_local_services


@click.command()
@picture_options
@click.option("--counts", default=6, show_default=True, type=click.IntRange(1, 6), help="Numbers of strokes to draw.")
def tally(run: str, storage: str, output: Path | None, seed: int, url: str | None, counts: int) -> None:
    """Draw held-out images of RUN with each number of strokes, a column a number.

    \b
    Example:
      unbraid generate tally RUN --counts 4
    """
    from unbraid.trainers.data import EvaluationData
    from unbraid.trainers.evaluate import open_model
    from unbraid.trainers.systems.tally.pictures import counted

    use_local_services()
    model, config = open_model(run, storage, device(), ("tally",))
    config = with_data(config, url)
    data = EvaluationData(config, model.device, config.data.reported_split)
    write_picture(counted(model, data, counts), output, "tally")
