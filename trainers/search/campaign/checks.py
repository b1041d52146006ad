"""Checks of a campaign against its preset: paths, every corner of the space, objectives, and the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.config.schema import SystemConfig, all_keys, check_keys, effects
from unbraid.trainers.config.words import nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.sections import Pbt, decided_keys
from unbraid.trainers.search.campaign.space import Params, corners

SAME_IMAGES = ("data.url", "data.split", "data.validation_split", "data.test_split")
"""Keys that are the same for all trials, because scores on other images cannot be compared."""


def check_campaign(campaign: Campaign) -> None:
    """Check that all paths exist, and that every corner of the space is a valid configuration that reports all objectives.

    Raises:
        ConfigError: naming the path, the corner or the objective.
    """
    if campaign.preset in preset_names() and is_pipeline(campaign.preset):
        raise ConfigError(f"preset: {campaign.preset} is a pipeline of several runs; name the stage that is to be searched")
    schema = type(resolve(campaign.preset))
    _check_space(campaign, schema)
    _check_fixed(campaign, schema)
    for params in corners(campaign.space):
        corner = ", ".join(f"{path}={value}" for path, value in params.items())
        try:
            config = corner_config(campaign, params)
        except ConfigError as error:
            raise ConfigError(f"space: at the corner {corner}: {error}") from None
        _check_objectives(campaign, config, corner)
    _check_budget(campaign)


def corner_config(campaign: Campaign, params: Params | None = None) -> SystemConfig:
    """The configuration at a corner of the space, by default the first corner."""
    return campaign.trial_config(next(corners(campaign.space)) if params is None else params, 0, "corner")


def check_trials(campaign: Campaign) -> None:
    """Build the systems of the lowest and of the highest corner without their weights, make an update, and see the disk.

    Raises:
        ConfigError: when one cannot be built, naming the corner.
        CheckpointError: when the disk is too small for a trial's checkpoints.
    """
    from unbraid.datasets.store import open_below
    from unbraid.trainers.launch.building import check_system  # torch, which reading a campaign needs for nothing else

    every = list(corners(campaign.space))
    for params in (every[0], every[-1]):
        try:
            check_system(corner_config(campaign, params), open_below(campaign.storage, campaign.name))
        except ConfigError as error:
            corner = ", ".join(f"{path}={value}" for path, value in params.items())
            raise ConfigError(f"space: at the corner {corner}: {error}") from None


def label_reading_metrics(campaign: Campaign) -> list[str]:
    """The metrics of objectives and scheduler that read labels."""
    measures = corner_config(campaign).measures()
    return [metric for metric in dict.fromkeys(campaign.selecting_metrics) if measures.get(metric)]


def _check_space(campaign: Campaign, schema: type[SystemConfig]) -> None:
    known = all_keys(schema)
    for path in campaign.space:
        _check_path("space", path, None, schema)
        for key in known:
            if key == path or key.startswith(f"{path}."):
                _check_searchable(path, key, campaign, schema)
        if path in campaign.fixed:
            raise ConfigError(f"fixed.{path}: is in the space too; keep one of them")


def _check_searchable(path: str, key: str, campaign: Campaign, schema: type[SystemConfig]) -> None:
    """See that a key may differ between trials.

    Args:
        path: of the dimension, which is the key or a section that holds it.
    """
    decided = decided_keys(campaign)
    if key in decided:
        raise ConfigError(
            f"space.{path}: {key} is not searched, because {decided[key]} of the campaign decides it for all trials"
        )
    if key in effects(schema):
        raise ConfigError(
            f"space.{path}: {key} is not searched, because it says where, how long or how fast a trial runs and not what it "
            "learns; put it under fixed"
        )
    if key in SAME_IMAGES:
        raise ConfigError(
            f"space.{path}: {key} is not searched, because scores on other images cannot be compared; put it under fixed"
        )


def _check_fixed(campaign: Campaign, schema: type[SystemConfig]) -> None:
    decided = decided_keys(campaign)
    for path, value in campaign.fixed.items():
        _check_path("fixed", path, value, schema)
        for key in _leaf_paths(path, value):
            if key == "data.test_split":
                raise ConfigError(
                    f"fixed.{key}: trials are chosen by data.validation_split and never see a test split; leave it out"
                )
            if key in decided:
                raise ConfigError(f"fixed.{key}: set {decided[key]} of the campaign, which decides it for all trials")


def _check_path(section: str, path: str, value: Any, schema: type[SystemConfig]) -> None:
    """See that a dotted path is a key, or a section, of the preset's configuration."""
    nested = value
    for key in reversed(path.split(".")):
        nested = {key: nested}
    try:
        check_keys(nested, schema, section)
    except ConfigError as error:
        raise ConfigError(f"{section}.{error}") from None


def _leaf_paths(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaf_paths(f"{path}.{name}", inner)
    else:
        yield path


def _check_objectives(campaign: Campaign, config: SystemConfig, corner: str) -> None:
    measures = config.measures()
    for metric in campaign.selecting_metrics:
        if metric == CENTRALITY:
            from unbraid.trainers.system import has_agreement  # torch, which reading a campaign needs for nothing else

            if not has_agreement(config.system):
                raise ConfigError(f"objectives: {CENTRALITY}: {config.system} has no measure of how far two models agree")
            continue
        if metric not in measures:
            raise ConfigError(
                f"objectives: {metric} is not reported by {config.system} at {corner}{nearest(metric, measures)}; "
                f"there are {', '.join(measures)}, {CENTRALITY}"
            )
        if measures[metric] and campaign.labels != "select":
            raise ConfigError(
                f"objectives: {metric} reads labels; set labels: select if the campaign may select by labels, or name another"
            )


def _check_budget(campaign: Campaign) -> None:
    rungs, updates = campaign.rungs, campaign.budget.updates
    if campaign.scheduler.kind != "none" and not rungs:
        raise ConfigError(
            f"scheduler: trials end after run.updates={campaign.updates}, before the first evaluation that it decides by"
        )
    if updates is not None and updates < min((*rungs, campaign.updates)):
        raise ConfigError(f"budget.updates={updates} ends the campaign before any trial is evaluated; raise it")
    if isinstance(campaign.scheduler, Pbt) and campaign.max_trials < 2:
        raise ConfigError("budget.trials: scheduler pbt needs a population of 2 or more")
