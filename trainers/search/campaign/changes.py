"""Changes of a campaign that has begun: another space, a frozen parameter, a larger budget. Its history stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.datasets.untrusted.yaml12 import plain
from unbraid.trainers.config.presets import merged
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.command_line import dimension_of, parsed
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.reading import campaign_of_content, override_of
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.campaign.space import Choice

AT_ONCE = ("budget", "keep")
"""Sections and keys of a campaign's file that a running driver takes over; others are read when it starts."""


def changed(campaign: Campaign, words: Sequence[str]) -> Campaign:
    """The campaign with another space or budget, checked as a whole.

    Args:
        words: ``section.key=RANGE`` searches a key, from now on in that range; ``section.key=VALUE`` freezes one that is
            searched; ``budget.KEY=VALUE`` and ``keep=NUMBER`` change the campaign's own keys.

    Raises:
        ConfigError: naming the word, or what is wrong with the campaign that would come of it.
    """
    content = campaign.model_dump(mode="json")
    space, fixed = content["space"], content["fixed"]
    for word in words:
        path, separator, text = word.partition("=")
        if not separator:
            raise ConfigError(f"{word!r}: expected section.key=RANGE, section.key=VALUE or budget.KEY=VALUE")
        if path.split(".")[0] in AT_ONCE:
            content = merged(content, override_of(word))
        elif path.split(".")[0] in Campaign.model_fields:
            raise ConfigError(
                f"{path}: cannot change while a campaign has results; what is searched can, and {', '.join(AT_ONCE)}"
            )
        elif (dimension := dimension_of(path, text)) is not None:
            space[path] = {"when": space.get(path, {}).get("when", {})} | dimension
            fixed.pop(path, None)
        else:
            _freeze(campaign, space, fixed, path, plain(parsed(path, text)))
    content |= {"space": space, "fixed": fixed}
    if (space, fixed) != (campaign.model_dump(mode="json")["space"], campaign.fixed):
        if isinstance(campaign.scheduler, Pbt):
            raise ConfigError("scheduler pbt: members have copied each other's values, so the space stays as it is")
        if not space:
            raise ConfigError("nothing would be searched any more; `unbraid tune export` writes a configuration as a preset")
        former = {"space": campaign.model_dump(mode="json")["space"], "fixed": campaign.fixed}
        content["former"] = [*content["former"], former]
    return campaign_of_content(content, "the change")


def _freeze(campaign: Campaign, space: dict[str, Any], fixed: dict[str, Any], path: str, value: Any) -> None:
    """Take a dimension out of a space; those that are searched only for some of its values follow."""
    if path not in space:
        raise ConfigError(
            f"{path}={value}: is not searched, so it cannot be frozen; searched are {', '.join(space)}. A range, such as "
            f"{path}=log(0.1,10), searches it from now on"
        )
    dimension = campaign.space.get(path)
    if isinstance(dimension, Choice) and value not in dimension.choice:
        raise ConfigError(f"{path}={value}: is none of {dimension.choice}; freeze it at one of them")
    del space[path]
    fixed[path] = value
    for other, searched in list(space.items()):
        conditions: Mapping[str, Any] = searched["when"]
        if path in conditions and conditions[path] != value:
            del space[other]
        elif path in conditions:
            space[other] = searched | {"when": {key: wanted for key, wanted in conditions.items() if key != path}}


def differences_text(before: Campaign, after: Campaign) -> str:
    """What a change does, in a line: ``loss.info log_uniform 0.1 to 10 → log_uniform 0.1 to 100``."""
    parts = []
    for path in dict.fromkeys((*before.space, *after.space)):
        old, new = before.space.get(path), after.space.get(path)
        if old is None and new is not None:
            parts.append(f"{path} {new.text}, so far {before.fixed.get(path, 'as in the preset')}")
        elif new is None and old is not None:
            value = after.fixed.get(path, "not searched any more")
            parts.append(f"{path} {old.text} → {value}")
        elif old is not None and new is not None and old != new:
            parts.append(f"{path} {old.text} → {new.text}")
    for section in AT_ONCE:
        old_value, new_value = getattr(before, section), getattr(after, section)
        if old_value != new_value:
            parts.append(f"{section} {_short(old_value)} → {_short(new_value)}")
    return "; ".join(parts) or "nothing changes"


def _short(value: Any) -> str:
    if hasattr(value, "model_dump"):
        return ", ".join(f"{key} {number:g}" for key, number in value.model_dump(exclude_none=True).items()) or "unlimited"
    return str(value)
