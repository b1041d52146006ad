"""``unbraid tune repeat``: train a failed or stopped trial again, or another seed of a configuration."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import ask, journal_of


@click.command()
@click.argument("name")
@click.argument("targets", nargs=-1, required=True, metavar="TRIAL|CONFIGURATION...")
@campaigns_storage_option
def repeat(name: str, targets: tuple[str, ...], storage: str) -> None:
    """Train trials that failed or were stopped further, from their newest checkpoint; or another seed of a configuration.

    A trial that was stopped trains to its end now, whatever the scheduler says. It trains again from the beginning where its
    checkpoints are gone.

    \b
    Examples:
      unbraid tune repeat weights 0007-s1
      unbraid tune repeat weights 0007       # one more seed
    """
    from unbraid.trainers.search.campaign.requests import asked_here

    ask(journal_of(storage, name), asked_here("repeat", targets=list(targets)))
