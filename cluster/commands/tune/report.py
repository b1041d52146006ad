"""``unbraid tune report``: draw the report of a campaign, finished or not."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import journal_of, name_damage


@click.command()
@click.argument("name")
@campaigns_storage_option
def report(name: str, storage: str) -> None:
    """Draw the report of a campaign, finished or not.

    \b
    Example:
      unbraid tune report infogan-mnist-weights-small
    """
    from unbraid.trainers.search.report.page import PAGE_KEY, write_report

    journal = journal_of(storage, name)
    write_report(journal, journal.campaign())
    click.echo(f"report: {journal.store.url}/{PAGE_KEY}")
    name_damage(journal)
