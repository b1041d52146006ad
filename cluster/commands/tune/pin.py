"""``unbraid tune pin``: let trials train to their end and keep their checkpoints."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import ask, journal_of


@click.command()
@click.argument("name")
@click.argument("targets", nargs=-1, required=True, metavar="TRIAL|CONFIGURATION...")
@campaigns_storage_option
def pin(name: str, targets: tuple[str, ...], storage: str) -> None:
    """Let trials train to their end, whatever the scheduler says, and keep their checkpoints.

    \b
    Examples:
      unbraid tune pin weights 0007
      unbraid tune unpin weights 0007
    """
    from unbraid.trainers.search.campaign.requests import asked_here

    ask(journal_of(storage, name), asked_here("pin", targets=list(targets)))
