"""``unbraid tune change``: widen, narrow or freeze what a campaign searches, or change its budget."""

from __future__ import annotations

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import ask, journal_of


@click.command()
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="KEY=RANGE|KEY=VALUE...")
@campaigns_storage_option
def change(name: str, words: tuple[str, ...], storage: str) -> None:
    """Search another space from now on, or with another budget; what was tried stays.

    A range, such as log(0.01,10), 0..4 or a|b|c, searches a key in that range. A value freezes a key that is searched.
    Configurations outside of the new space are kept and marked; the searcher does not learn from them. A driver that runs the
    campaign takes the change over within seconds.

    \b
    Examples:
      unbraid tune change weights 'loss.info_continuous=log(0.01,10)'   # wider, or narrower
      unbraid tune change weights optim.decay_from=0.6                  # frozen
      unbraid tune change weights budget.trials=60
    """
    from unbraid.trainers.search.campaign.requests import asked_here

    ask(journal_of(storage, name), asked_here("change", words=list(words)))
