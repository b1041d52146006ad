"""``unbraid eval``: measure a checkpoint."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import runs_storage_option
from unbraid.cluster.local.services import use_local_services


@click.command("eval")
@click.argument("run")
@runs_storage_option
@click.option("--step", type=int, help="Checkpoint to measure. Default: the newest.")
def evaluate(run: str, storage: str, step: int | None) -> None:
    """Measure a checkpoint of RUN on its evaluation split and print JSON.

    \b
    Examples:
      unbraid eval infogan-mnist-small-1a2b3c4d
      unbraid eval mine --storage s3://bucket/runs --step 2000
    """
    import json

    use_local_services()
    from unbraid.trainers.evaluate import evaluate_run

    click.echo(json.dumps(evaluate_run(storage, run, step), indent=2))
