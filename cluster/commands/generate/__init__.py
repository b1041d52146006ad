"""``unbraid generate``: draw with trained systems."""

from __future__ import annotations

import click

from unbraid.cluster.commands.discovery import FolderGroup


@click.group(cls=FolderGroup, package="unbraid.cluster.commands.generate")
def generate() -> None:
    """Draw with trained systems: a group of commands for each.

    \b
    Examples:
      unbraid generate dpig swap RUN --factor foreground
      unbraid generate cdd translate RUN --from x
    """
