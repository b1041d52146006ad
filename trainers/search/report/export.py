"""The best configuration of a campaign as a preset that trains to the same number."""

from __future__ import annotations

import json
from typing import Any

import yaml

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import differences
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import read_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked

LEFT_OUT = ("run.name", "run.storage", "run.evaluate_at", "run.labels", "run.max_failures")
"""Keys that a campaign sets and that decide nothing of what is learnt."""


def export_preset(journal: Journal, campaign: Campaign, number: int | None = None) -> tuple[str, str]:
    """The name of a trial and its configuration as YAML.

    Args:
        number: of the configuration; None is the best.

    Raises:
        ConfigError: when there is no such configuration, or none has a score.
    """
    configurations = journal.read()
    if number is not None and number >= len(configurations):
        raise ConfigError(f"--configuration {number}: {campaign.name} has {len(configurations)} configurations, from 0")
    chosen = configurations[number] if number is not None else best(configurations, campaign)
    trial = chosen.best_trial(campaign) if chosen is not None else None
    if trial is None:
        raise ConfigError(f"campaign {campaign.name}: no trial has a score yet; see `unbraid tune status {campaign.name}`")
    return trial.name, preset_text(journal, campaign, trial)


def best(configurations: list[Configuration], campaign: Campaign) -> Configuration | None:
    """The first of the ranking that has a trial to show."""
    return next((c for c in ranked(configurations, campaign) if c.best_trial(campaign) is not None), None)


def preset_text(journal: Journal, campaign: Campaign, trial: Trial) -> str:
    """What differs from the campaign's preset, as a file that ``unbraid train --config`` reads.

    Seed, precision and CPUs are those of the trial: on the same machine the same numbers come out, bit for bit.
    """
    config = read_config(journal.trial_store(trial.name))
    content: dict[str, Any] = {"extends": campaign.preset}
    for path, (_, value) in differences(resolve(campaign.preset), config).items():
        if path not in LEFT_OUT:
            *sections, key = path.split(".")
            inner = content
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[key] = value
    scores = json.dumps({metric: trial.scores.get(metric) for metric in campaign.metrics if metric in trial.scores})
    head = (
        f"# Trial {trial.name} of campaign {campaign.name}: {scores} after {trial.updates} updates.\n"
        f"# unbraid train --config FILE trains it again.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False)
