"""``unbraid tune status``: how far a campaign is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import journal_of, name_damage

if TYPE_CHECKING:
    from unbraid.trainers.search.campaign.journal import Journal

SECONDS_BETWEEN_LOOKS = 5.0
"""At the storage, with ``--watch``."""


@click.command()
@click.argument("name")
@click.option("--watch", is_flag=True, help="Show it again every few seconds, until the campaign ends or Ctrl-C.")
@campaigns_storage_option
def status(name: str, watch: bool, storage: str) -> None:
    """Show how far a campaign is; needs its storage only.

    \b
    Examples:
      unbraid tune status infogan-mnist-weights-small
      unbraid tune status faces --storage s3://bucket/campaigns --watch
    """
    from unbraid.datasets.untrusted.terminal import erase_lines

    journal = journal_of(storage, name)
    text = _status_text(journal)
    click.echo(text)
    while watch and journal.status().get("status") == "running":
        time.sleep(SECONDS_BETWEEN_LOOKS)
        before, text = text, _status_text(journal)
        if text != before:
            if sys.stdout.isatty():
                erase_lines(sys.stdout, before.count("\n") + 1)
            click.echo(text)
    name_damage(journal)


def _status_text(journal: Journal) -> str:
    from unbraid.trainers.search.report.table import campaign_table, requests_text, spent_text, status_text

    content, campaign, configurations = journal.status(), journal.campaign(), journal.read()
    lines = [
        f"{journal.store.url}: {status_text(content)}",
        campaign_table(campaign, configurations, float(content.get("seconds", 0.0))),
        spent_text(campaign, configurations),
        *requests_text(journal.store),
    ]
    return "\n".join(line for line in lines if line)
