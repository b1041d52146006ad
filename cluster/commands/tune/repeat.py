"""``unbraid tune repeat``: train a failed or stopped trial again, or another seed of a configuration."""

from __future__ import annotations

import click

from unbraid.cluster.commands.tune.asking import ask_of_trials, on_trials


@click.command()
@on_trials
def repeat(name: str, targets: tuple[str, ...], storage: str) -> None:
    """Train trials that failed or were stopped further, from their newest checkpoint; or another seed of a configuration.

    A trial that was stopped trains to its end now, whatever the scheduler says. It trains again from the beginning where its
    checkpoints are gone.

    \b
    Examples:
      unbraid tune repeat weights 0007-s1
      unbraid tune repeat weights 0007       # one more seed
    """
    ask_of_trials("repeat", name, targets, storage)
