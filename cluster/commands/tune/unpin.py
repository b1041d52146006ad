"""``unbraid tune unpin``: leave trials to the scheduler again."""

from __future__ import annotations

import click

from unbraid.cluster.commands.tune.asking import ask_of_trials, on_trials


@click.command()
@on_trials
def unpin(name: str, targets: tuple[str, ...], storage: str) -> None:
    """Leave pinned trials to the scheduler and to retention again.

    \b
    Example:
      unbraid tune unpin weights 0007
    """
    ask_of_trials("unpin", name, targets, storage)
