"""Exporting a configuration of a campaign as a preset that trains to the same weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import differences, effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import read_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.sections import decided_keys
from unbraid.trainers.search.plan.proposals import study_of


def export_preset(journal: Journal, campaign: Campaign, number: int | None = None) -> tuple[str, str]:
    """The name of a configuration's best trial, and that trial's configuration as the YAML text of a preset.

    Args:
        number: of the configuration; None is the best.

    Raises:
        ConfigError: when there is no such configuration, or no trial has a score.
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
    """The first configuration of the ranking that has a trial with a score."""
    return next((c for c in ranked(configurations, campaign) if c.best_trial(campaign) is not None), None)


def preset_text(journal: Journal, campaign: Campaign, trial: Trial) -> str:
    """What a trial's configuration changes in the campaign's preset, as a file that ``unbraid train --config`` reads.

    It holds what decides what is learnt, and the trial's resources: with the same number of CPUs the same machine computes the
    same weights, bit for bit.
    """
    config = read_config(journal.trial_store(trial.name))
    changes = differences(resolve(campaign.preset), config)
    execution = {key for key, effect in effects(type(config)).items() if not effect.names_the_run}
    left_out = execution - decided_keys(campaign.resources).keys() | {"data.test_split"}  # the preset's run is reported
    content = {"extends": campaign.preset} | _nested({key: new for key, (_, new) in changes.items() if key not in left_out})
    scores = json.dumps({metric: trial.scores.get(metric) for metric in campaign.metrics if metric in trial.scores})
    head = (
        f"# Trial {trial.name} of campaign {campaign.name} after {trial.updates} updates, on its validation split: {scores}\n"
        f"# unbraid train --config FILE trains it again, and measures it on the test split.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted path as nested sections."""
    content: dict[str, Any] = {}
    for path, value in values.items():
        *sections, key = path.split(".")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return content


def export_study(journal: Journal, campaign: Campaign, file: Path) -> int:
    """Write all configurations of a campaign to an SQLite file as an Optuna study, which optuna-dashboard shows.

    Returns:
        The number of configurations.
    """
    import optuna

    study = study_of(campaign, journal.read())
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".study-") as folder:
        whole = Path(folder) / "study.db"
        storage = optuna.storages.RDBStorage(f"sqlite:///{whole}")
        copy = optuna.create_study(storage=storage, study_name=campaign.name, directions=study.directions)
        copy.add_trials(study.trials)
        storage.remove_session()
        storage.engine.dispose()
        whole.replace(file)
    return len(study.trials)
