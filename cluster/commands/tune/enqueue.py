"""``unbraid tune enqueue``: try a configuration next."""

from __future__ import annotations

from typing import Any

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import ask, journal_of


@click.command()
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="KEY=VALUE...|RUN|CAMPAIGN|preset...")
@campaigns_storage_option
def enqueue(name: str, words: tuple[str, ...], storage: str) -> None:
    """Try configurations next: values, those of a run, the best of another campaign, or the preset's.

    Values that are left out are as in the preset. The searcher learns from them as from its own.

    \b
    Examples:
      unbraid tune enqueue weights loss.info_continuous=0.5 loss.info_categorical=1
      unbraid tune enqueue weights runs/my-run preset
    """
    from unbraid.datasets.untrusted.yaml12 import plain
    from unbraid.trainers.search.campaign.command_line import parsed
    from unbraid.trainers.search.campaign.requests import asked_here
    from unbraid.trainers.search.campaign.starts import points_of

    journal = journal_of(storage, name)
    values = dict(word.split("=", 1) for word in words if "=" in word)
    entries: list[Any] = [{path: plain(parsed(path, text)) for path, text in values.items()}] if values else []
    entries += [word for word in words if "=" not in word]
    points = [point for entry in entries for point in points_of(journal.campaign(), entry)]
    ask(journal, asked_here("enqueue", points=points))
