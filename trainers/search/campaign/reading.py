"""Reading a campaign's file, and checking it whole before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources, util
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.config.schema import SystemConfig, absolute, all_keys, explain, nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import CENTRALITY, NOT_SEARCHED, OWNED, Campaign
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.campaign.space import corners

CAMPAIGNS = resources.files("unbraid.trainers") / "campaigns"


def campaign_names() -> list[str]:
    """The campaigns that come with unbraid."""
    return sorted(p.name.removesuffix(".yaml") for p in CAMPAIGNS.iterdir() if p.name.endswith(".yaml"))


def read_campaign(reference: str, overrides: Iterable[str] = ()) -> Campaign:
    """A campaign from its file, or one that comes with unbraid, by name.

    Args:
        overrides: ``key=value`` of the campaign itself, such as ``budget.minutes=10`` or ``fixed.data.url=s3://bucket/mnist``.

    Raises:
        ConfigError: when there is none, or anything in it is wrong.
    """
    if reference in campaign_names():
        text = (CAMPAIGNS / f"{reference}.yaml").read_text()
    else:
        try:
            text = Path(reference).read_text()
        except OSError as error:
            raise ConfigError(
                f"{reference}: cannot be read ({error.strerror}); expected a file{nearest(reference, campaign_names())}, "
                f"or one of {', '.join(campaign_names())}"
            ) from None
    return parse_campaign(text, reference, overrides)


def parse_campaign(text: str, where: str, overrides: Iterable[str] = ()) -> Campaign:
    """A campaign from YAML, checked whole: its own fields, then that every corner of its space is a valid configuration.

    Raises:
        ConfigError: naming the file and the key.
    """
    try:
        content = yaml.safe_load(text)
        if not isinstance(content, dict):
            raise ConfigError("expected a mapping with name, preset, space, objectives and budget")
        for override in overrides:
            _override(content, override)
        for key in content:
            if key not in Campaign.model_fields:
                raise ConfigError(f"{key}: unknown key{nearest(str(key), Campaign.model_fields)}")
        campaign = Campaign.model_validate(content)
        check(campaign)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({error})") from None
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in explain(error).splitlines())) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return campaign.model_copy(update={"storage": absolute(campaign.storage)})


def _override(content: Any, override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{override!r}: expected key=value, such as budget.minutes=10")
    *sections, key = path.split(".")
    if sections[:1] == ["fixed"]:  # its keys are dotted paths themselves
        sections, key = ["fixed"], path.removeprefix("fixed.")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: {section} is not a section")
    content[key] = yaml.safe_load(text)


def check(campaign: Campaign) -> None:
    """That paths exist, and every corner of the space is a valid configuration that reports all objectives.

    Raises:
        ConfigError: naming the path, the corner or the objective.
    """
    if campaign.preset in preset_names() and is_pipeline(campaign.preset):
        raise ConfigError(f"preset: {campaign.preset} is a pipeline of several runs; name the stage that is to be searched")
    schema = type(resolve(campaign.preset))
    known = all_keys(schema)
    for path in campaign.space:
        if not any(key == path or key.startswith(f"{path}.") for key in known):
            raise ConfigError(f"space.{path}: unknown key of {campaign.preset}{nearest(path, known)}")
        if path.startswith(NOT_SEARCHED):
            raise ConfigError(f"space.{path}: where, how long and on what a trial runs is not searched; put it under fixed")
        if path in campaign.fixed:
            raise ConfigError(f"fixed.{path}: is in the space too; keep one of them")
    for path in campaign.fixed:
        if path in OWNED:
            raise ConfigError(f"fixed.{path}: set {OWNED[path]} of the campaign, which decides it for all trials")
    for params in corners(campaign.space):
        corner = ", ".join(f"{path}={value}" for path, value in params.items())
        try:
            config = campaign.config(params, 0, "corner")
        except ConfigError as error:
            raise ConfigError(f"space: at the corner {corner}: {error}") from None
        _check_objectives(campaign, config, corner)
    if campaign.scheduler.kind != "none" and not campaign.rungs:
        raise ConfigError(f"scheduler: a trial's run.updates={campaign.updates} end before it is measured for the first time")
    if campaign.budget.updates is not None and campaign.budget.updates < min((*campaign.rungs, campaign.updates)):
        raise ConfigError(f"budget.updates={campaign.budget.updates} allows no trial to be measured once")
    if isinstance(campaign.scheduler, Pbt) and campaign.most_trials < 2:
        raise ConfigError("budget.trials: scheduler pbt needs a population of 2 or more")


def _check_objectives(campaign: Campaign, config: SystemConfig, corner: str) -> None:
    measures = config.measures()
    for metric in campaign.selects_by:
        if metric == CENTRALITY:
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
                f"objectives: {metric} reads labels; say labels: select if the campaign may choose by them, or name another"
            )


def has_agreement(system: str) -> bool:
    """Whether two models of a system can be compared: it has an ``agreement`` module."""
    return util.find_spec(f"unbraid.trainers.systems.{system}.agreement") is not None


def label_readers(campaign: Campaign) -> list[str]:
    """The measures that decide something and read labels."""
    point = next(corners(campaign.space))
    measures = campaign.config(point, 0, "corner").measures()
    return [metric for metric in dict.fromkeys(campaign.selects_by) if measures.get(metric)]
