"""``unbraid tune pin``: let trials train to their end and keep their checkpoints."""

from __future__ import annotations

import click

from unbraid.cluster.commands.tune.asking import ask_of_trials, on_trials


@click.command()
@on_trials
def pin(name: str, targets: tuple[str, ...], storage: str) -> None:
    """Let trials train to their end, whatever the scheduler says, and keep their checkpoints.

    \b
    Examples:
      unbraid tune pin weights 0007
      unbraid tune unpin weights 0007
    """
    ask_of_trials("pin", name, targets, storage)
