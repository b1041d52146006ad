"""Presets: named YAML files that hold what differs from a system's defaults."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from unbraid.trainers.config.schema import nearest
from unbraid.trainers.errors import ConfigError

PRESETS = resources.files("unbraid.trainers") / "presets"


def preset_names() -> list[str]:
    """All presets, by name."""
    return sorted(p.name.removesuffix(".yaml") for p in PRESETS.iterdir() if p.name.endswith(".yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """A preset's content, what it extends included."""
    names = preset_names()
    if name not in names:
        raise ConfigError(f"preset {name!r}: no such preset{nearest(name, names)}; there are {', '.join(names)}")
    return extended(read_yaml(f"preset {name}", (PRESETS / f"{name}.yaml").read_text()))


def extended(content: dict[str, Any]) -> dict[str, Any]:
    """A preset's content merged over the preset that its ``extends`` names."""
    parent = content.pop("extends", None)
    return content if parent is None else _merge(read_preset(parent), content)


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, dict) else value
    return merged


def read_yaml(where: str, text: str) -> dict[str, Any]:
    """A YAML mapping.

    Args:
        where: it comes from, for the message.

    Raises:
        ConfigError: when it is not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: expected a mapping of sections, found {type(content).__name__}")
    return content
