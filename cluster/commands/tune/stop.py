"""``unbraid tune stop``: end single trials of a campaign."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import ask, journal_of


@click.command()
@click.argument("name")
@click.argument("targets", nargs=-1, required=True, metavar="TRIAL|CONFIGURATION...")
@campaigns_storage_option
def stop(name: str, targets: tuple[str, ...], storage: str) -> None:
    """End trials, named as in the table: 0007-s1, or 0007 for all seeds of a configuration.

    A trial that runs ends with its next sign of life, half a minute at most between two evaluations.

    \b
    Example:
      unbraid tune stop weights 0007-s1
    """
    from unbraid.trainers.search.campaign.requests import asked_here

    ask(journal_of(storage, name), asked_here("stop", targets=list(targets)))
