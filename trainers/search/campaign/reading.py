"""Reading a campaign's file, which is checked as a whole before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unbraid.datasets.untrusted.yaml12 import parse_scalars
from unbraid.trainers.config.presets import merged
from unbraid.trainers.config.schema import absolute, check_keys
from unbraid.trainers.config.words import explain, meant, nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.checks import check_campaign
from unbraid.trainers.search.campaign.file import PRESET, Campaign

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
        text = (CAMPAIGNS / f"{reference}.yaml").read_bytes()
    else:
        try:
            text = Path(reference).read_bytes()
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
    campaign = parse_stored(text, where, overrides)
    try:
        check_campaign(campaign)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return campaign


def parse_stored(text: str | bytes, where: str, overrides: Iterable[str] = ()) -> Campaign:
    """Parse a campaign's YAML and check its own keys; its corners, which take a fraction of a second each, were checked before.

    Args, Raises: as of :func:`parse_campaign`.
    """
    try:
        content = parse_scalars(text)
        if not isinstance(content, dict):
            raise ConfigError("expected a mapping with name, preset, space, objectives and budget")
        for override in overrides:
            content = merged(content, override_of(override))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({error})") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return _validated(content, where)


def campaign_of_content(content: dict[str, Any], where: str) -> Campaign:
    """A campaign from the content of its file, checked as a whole.

    Args, Raises: as of :func:`parse_campaign`.
    """
    campaign = _validated(content, where)
    try:
        check_campaign(campaign)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return campaign


def _validated(content: dict[str, Any], where: str) -> Campaign:
    """A campaign whose own keys are checked."""
    try:
        if "collapse" in content:
            raise ConfigError("collapse: every run is judged now; set fixed: {divergence.loss_d: …, divergence.deviation: …}")
        check_keys(content, Campaign, "the campaign")
        campaign = Campaign.model_validate(meant(content, Campaign))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in explain(error).splitlines())) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    starts = [absolute(entry) if isinstance(entry, str) and entry != PRESET else entry for entry in campaign.start_from]
    return campaign.model_copy(update={"storage": absolute(campaign.storage), "start_from": starts})


def override_of(override: str) -> Any:
    """The nested mapping of one ``key=value`` of a campaign.

    Raises:
        ConfigError: when it has no equals sign.
    """
    path, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{override!r}: expected key=value, such as budget.minutes=10")
    keys = path.split(".")
    if keys[0] == "fixed":  # its keys are dotted paths themselves
        keys = ["fixed", path.removeprefix("fixed.")]
    nested: Any = parse_scalars(text)
    for key in reversed(keys):
        nested = {key: nested}
    return nested
