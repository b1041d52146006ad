"""``unbraid eval``: measure a checkpoint."""

from __future__ import annotations

import sys

import click

from unbraid.cluster.commands.options import nightly_option, runs_storage_option
from unbraid.cluster.local.services import use_local_services


@click.command("eval")
@click.argument("run")
@runs_storage_option
@click.option("--step", type=int, help="Checkpoint to measure. Default: the newest.")
@click.option("--split", help="Split of the run's set to measure. Default: the one that it reports, its data.test_split.")
@nightly_option
@click.option("--whole-split", is_flag=True, help="Read the whole split for measures that otherwise read its first samples.")
def evaluate(run: str, storage: str, step: int | None, split: str | None, must_learn: bool, whole_split: bool) -> None:
    """Measure a checkpoint of RUN and print JSON.

    Choose by the validation split, and report the test split. Figures that are put beside a paper's need --whole-split: DPIG's
    are of all test pairs, not of those among the first thousand images.

    \b
    Examples:
      unbraid eval infogan-mnist-small-1a2b3c4d
      unbraid eval mine --storage s3://bucket/runs --step 2000 --split validation
      unbraid eval dpig-market1501-5e6f7a8b-appearance --whole-split
    """
    import json

    use_local_services()
    from unbraid.trainers.evaluate import evaluate_run
    from unbraid.trainers.runs.open import find_run
    from unbraid.trainers.runs.record import read_config

    scores = evaluate_run(storage, run, step, split, whole_split)
    click.echo(json.dumps(scores, indent=2))
    if why := read_config(find_run(run, storage)).nothing_learnt(scores):
        click.echo(f"nothing was learnt: {why}", err=True)
        sys.exit(int(must_learn))
