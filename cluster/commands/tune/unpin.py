"""``unbraid tune unpin``: leave trials to the scheduler again."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import ask, journal_of


@click.command()
@click.argument("name")
@click.argument("targets", nargs=-1, required=True, metavar="TRIAL|CONFIGURATION...")
@campaigns_storage_option
def unpin(name: str, targets: tuple[str, ...], storage: str) -> None:
    """Leave pinned trials to the scheduler and to retention again.

    \b
    Example:
      unbraid tune unpin weights 0007
    """
    from unbraid.trainers.search.campaign.requests import asked_here

    ask(journal_of(storage, name), asked_here("unpin", targets=list(targets)))
