"""What the commands of ``unbraid tune`` on one campaign share: opening it, and asking something of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.trainers.search.campaign.journal import Journal
    from unbraid.trainers.search.campaign.requests import Answer, Inbox, Kind, Request

PATIENCE_SECONDS = 45.0
"""How long a command waits for the driver's answer."""


def name_damage(journal: Journal) -> None:
    """Print one line for each record of a campaign that could not be read."""
    for message in journal.damaged:
        click.echo(f"damaged: {message}", err=True)


def journal_of(storage: str, name: str) -> Journal:
    """The journal of a campaign that has begun.

    Raises:
        ConfigError: when there is none.
    """
    from unbraid.trainers.search.campaign.journal import Journal

    use_local_services()
    return Journal.open(storage, name)


def on_trials(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments of a command that asks something of trials: ``name``, ``targets`` and ``storage``."""
    targets = click.argument("targets", nargs=-1, required=True, metavar="TRIAL|CONFIGURATION...")
    return click.argument("name")(targets(campaigns_storage_option(command)))


def ask_of_trials(kind: Kind, name: str, targets: tuple[str, ...], storage: str) -> None:
    """Ask something of trials of a campaign, see :func:`ask`."""
    from unbraid.trainers.search.campaign.requests import asked_here

    ask(journal_of(storage, name), asked_here(kind, targets=list(targets)))


def ask(journal: Journal, request: Request) -> None:
    """Have a request done: by the driver that runs the campaign, or here where none does; print what was done.

    Raises:
        ConfigError: when it is refused; then nothing was left in the storage.
    """
    from unbraid.datasets.store.lease import HOLDER, HeldError, Lease
    from unbraid.trainers.search.campaign.requests import Inbox
    from unbraid.trainers.search.plan.by_hand import do
    from unbraid.trainers.search.plan.plan import Plan
    from unbraid.trainers.search.trials.asked import do_requests

    do(Plan(journal.campaign(), journal.read()), request)  # a plan of our own: whether it would be refused
    inbox = Inbox(journal.store)
    name = inbox.put(request)
    try:
        with Lease.acquire(journal.store, HOLDER, on_wait=lambda message: None) as lease:
            journal.lease = lease
            do_requests(Plan(journal.campaign(), journal.read()), journal)
    except HeldError as error:
        _print_answer(_awaited(inbox, name), str(error))
        return
    _print_answer(inbox.answer_to(name))
    click.echo(f"nobody runs this campaign: `unbraid tune --resume {journal.campaign().name}` goes on with it")


def _awaited(inbox: Inbox, name: str) -> Answer | None:
    until = time.monotonic() + PATIENCE_SECONDS
    while (answer := inbox.answer_to(name)) is None and time.monotonic() < until:
        time.sleep(1.0)
    return answer


def _print_answer(answer: Answer | None, driver: str = "") -> None:
    from unbraid.trainers.errors import ConfigError

    if answer is None:
        click.echo(f"asked of {driver}, which has not answered yet; `unbraid tune status` shows what it does")
    elif answer.refused:
        raise ConfigError(answer.outcome)
    else:
        click.echo(answer.outcome)
