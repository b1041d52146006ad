"""Reading a campaign's file, which is checked as a whole before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unbraid.datasets.untrusted.documents import parse_yaml
from unbraid.trainers.config.schema import absolute, check_keys, explain, nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.checks import check_campaign
from unbraid.trainers.search.campaign.file import Campaign

CAMPAIGNS = resources.files("unbraid.trainers") / "campaigns"


def campaign_names() -> list[str]:
    """The names of the campaigns that come with unbraid."""
    return sorted(p.name.removesuffix(".yaml") for p in CAMPAIGNS.iterdir() if p.name.endswith(".yaml"))


def read_campaign(reference: str, overrides: Iterable[str] = ()) -> Campaign:
    """Read a campaign from a file, or one that comes with unbraid by its name.

    Args:
        reference: the file's path, or the campaign's name.
        overrides: ``key=value`` of the campaign itself, such as ``budget.minutes=10`` or ``fixed.data.url=s3://bucket/mnist``.

    Raises:
        ConfigError: when there is no such campaign, or anything in it is wrong.
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


def parse_campaign(text: str | bytes, where: str, overrides: Iterable[str] = ()) -> Campaign:
    """Parse a campaign's YAML and check it as a whole: its own keys, then every corner of its space as a configuration.

    Args:
        where: the text comes from, for messages.
        overrides: as of :func:`read_campaign`.

    Raises:
        ConfigError: naming the file and the key.
    """
    try:
        content = parse_yaml(text)
        if not isinstance(content, dict):
            raise ConfigError("expected a mapping with name, preset, space, objectives and budget")
        for override in overrides:
            _override(content, override)
        check_keys(content, Campaign, "the campaign")
        campaign = Campaign.model_validate(content)
        check_campaign(campaign)
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
    content[key] = parse_yaml(text)
