"""Doing what persons ask of a campaign: in the plan, then in the journal, then the answer."""

from __future__ import annotations

import logging

from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.requests import Answer, Inbox
from unbraid.trainers.search.plan.by_hand import Done, do
from unbraid.trainers.search.plan.plan import Plan

log = logging.getLogger(__name__)


def do_requests(plan: Plan, journal: Journal) -> list[Done]:
    """Do all waiting requests of a campaign, record what has changed, and answer each; returns what was done.

    A launch that dies in between does the request again: one that was done is then refused, or changes nothing.

    Raises:
        DataError: when the storage cannot be read or written.
    """
    inbox, everything = Inbox(journal.store), []
    for name, request in inbox.waiting().items():
        updates = sum(trial.updates for trial in plan.trials())
        try:
            done = do(plan, request)
        except ConfigError as error:
            log.warning("%s, by %s, is refused: %s", request.text, request.by, error)
            inbox.answer(name, Answer(request, str(error), refused=True, updates=updates))
            continue
        log.warning("%s, by %s: %s", request.text, request.by, done.text)
        _record(journal, plan, done)
        inbox.answer(name, Answer(request, done.text, updates=updates))
        everything.append(done)
    return everything


def _record(journal: Journal, plan: Plan, done: Done) -> None:
    """Write what a request has changed."""
    if done.campaign:
        journal.write_campaign(plan.campaign)
    for configuration in done.configurations:
        journal.write_configuration(configuration)
    for trial in done.renewed:
        journal.renew(trial)
    for trial in done.trials:
        journal.write_trial(trial)
