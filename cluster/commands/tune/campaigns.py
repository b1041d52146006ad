"""``unbraid tune campaigns``: list the campaigns that come with unbraid."""

from __future__ import annotations

import click


@click.command()
def campaigns() -> None:
    """List the campaigns that come with unbraid.

    \b
    Example:
      unbraid tune campaigns
    """
    from unbraid.trainers.search.campaign.reading import CAMPAIGNS, campaign_names

    for name in campaign_names():
        first = (CAMPAIGNS / f"{name}.yaml").read_text().splitlines()[0]
        click.echo(f"{name:32} {first.lstrip('# ')}")
