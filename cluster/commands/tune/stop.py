"""``unbraid tune stop``: end single trials of a campaign."""

from __future__ import annotations

import click

from unbraid.cluster.commands.tune.asking import ask_of_trials, on_trials


@click.command()
@on_trials
def stop(name: str, targets: tuple[str, ...], storage: str) -> None:
    """End trials, named as in the table: 0007-s1, or 0007 for all seeds of a configuration.

    A trial that runs ends with its next sign of life, half a minute at most between two evaluations.

    \b
    Example:
      unbraid tune stop weights 0007-s1
    """
    ask_of_trials("stop", name, targets, storage)
