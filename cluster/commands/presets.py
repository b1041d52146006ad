"""``unbraid presets``: list the presets."""

from __future__ import annotations

import click


@click.command()
def presets() -> None:
    """List the presets that unbraid ships, and those in the folder that UNBRAID_PRESETS names.

    \b
    Examples:
      unbraid presets
      UNBRAID_PRESETS=my-presets unbraid presets
    """
    from unbraid.trainers.config.presets import all_presets

    for name, preset in all_presets().items():
        mark = " [yours, in place of the shipped one]" if preset.replaces else " [yours]" if preset.own else ""
        click.echo(f"{name:28} {preset.summary()}{mark}")
