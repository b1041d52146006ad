"""``unbraid eval``: measure a checkpoint."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import runs_storage_option
from unbraid.cluster.local.services import use_local_services


@click.command("eval")
@click.argument("run")
@runs_storage_option
@click.option("--step", type=int, help="Checkpoint to measure. Default: the newest.")
@click.option("--split", help="Split of the run's set to measure. Default: the one that it reports, its data.test_split.")
def evaluate(run: str, storage: str, step: int | None, split: str | None) -> None:
    """Measure a checkpoint of RUN and print JSON.

    Choose by the validation split, and report the test split.

    \b
    Examples:
      unbraid eval infogan-mnist-small-1a2b3c4d
      unbraid eval mine --storage s3://bucket/runs --step 2000 --split validation
    """
    import json

    use_local_services()
    from unbraid.trainers.evaluate import evaluate_run

    click.echo(json.dumps(evaluate_run(storage, run, step, split), indent=2))
