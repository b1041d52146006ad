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
@click.option("--whole-split", is_flag=True, help="Read the whole split for measures that otherwise read its first samples.")
def evaluate(run: str, storage: str, step: int | None, split: str | None, whole_split: bool) -> None:
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

    click.echo(json.dumps(evaluate_run(storage, run, step, split, whole_split), indent=2))
