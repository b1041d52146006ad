"""``unbraid reidentify``: train a reader of identities on one set of people, and measure whom it finds in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from unbraid.cluster.commands.kinds import Size
from unbraid.cluster.local.services import use_local_services


@click.command()
@click.argument("train")
@click.argument("test")
@click.option("--train-split", default="train", show_default=True, help="Split of TRAIN to learn from.")
@click.option("--split", default="test", show_default=True, help="Split of TEST to measure. Choose by the validation split.")
@click.option("--size", type=Size(), help="Resize all images.  [default: to the size of TRAIN's]")
@click.option("--epochs", default=40, show_default=True, type=click.IntRange(1), help="Passes over the training images.")
@click.option("--batch", default=64, show_default=True, type=click.IntRange(2), help="Images in an update.")
@click.option("--rate", default=2e-3, show_default=True, type=click.FloatRange(0, min_open=True), help="Adam's, at first.")
@click.option("--width", default=32, show_default=True, type=click.IntRange(1), help="Channels of the network's first stage.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 1 << 40), help="Of weights, order and changes.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="reidentify.json",
    show_default=True,
    help="JSON to write: the table, and what it was measured on.",
)
def reidentify(
    train: str, test: str, train_split: str, split: str, size: tuple[int, int] | None, output: Path, **learning: Any
) -> None:
    """Train a reader of identities on TRAIN, and report whom it finds in TEST: rank-1, rank-5, rank-10 and mAP.

    TRAIN and TEST are packed sets of people, or folders in Market-1501's layout: the published files, or what `unbraid
    generate dpig export` writes. Published figures are of the published files: a packed set lacks images without keypoints.

    A residual network learns to name the training people. Its features rank the gallery for each query by their cosine. Of the
    test split, Market-1501's rule holds: images of the query's person by its own camera are left out, junk is left out,
    distractors are wrong. In a split without queries, each person's first image by each camera is one; without cameras, each
    person's first image, and only the query itself is left out. A reader with fresh weights is reported beside it.

    mAP is by trapezoids, as Market-1501's own code has it, and by steps, as many later papers have it.

    \b
    Examples:
      unbraid reidentify ~/Market-1501 ~/Market-1501
      unbraid reidentify ./virtual ~/Market-1501 --output virtual.json
      unbraid reidentify s3://unbraid/people-64x32 s3://unbraid/people-64x32 --epochs 10 --seed 1
    """
    from unbraid.cluster.commands.generate.pictures import device
    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.reidentification.reader import Learning
    from unbraid.trainers.reidentification.report import compare, table

    use_local_services()
    store = FolderStore(output.parent, create=True)
    found = compare((train, train_split), (test, split), size, Learning(**learning), device(), click.echo)
    click.echo(table(found))
    store.put(output.name, (json.dumps(found, indent=2) + "\n").encode())
    click.echo(f"{output}: written")
