"""Which systems there are: every folder of :mod:`unbraid.trainers.systems` that holds a ``config.py`` is one."""

from collections.abc import Mapping
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unbraid.trainers.config.schema import SystemConfig, check_keys
from unbraid.trainers.config.words import explain, meant, nearest
from unbraid.trainers.errors import ConfigError

SYSTEMS = Path(str(resources.files("unbraid.trainers") / "systems"))


def system_names() -> list[str]:
    """All systems, by the dotted path from :data:`SYSTEMS` to their folder."""
    return sorted(".".join(p.parent.relative_to(SYSTEMS).parts) for p in SYSTEMS.rglob("config.py"))


def system_schema(system: object) -> type[SystemConfig]:
    """The configuration class of a system.

    Raises:
        ConfigError: when there is no such system.
    """
    known = system_names()
    if system is None:
        raise ConfigError("names no `system`; expected a run's config.yaml, or a file with `extends: PRESET`")
    if system not in known:
        raise ConfigError(f"system: {system!r} is not one of {', '.join(known)}{nearest(str(system), known)}")
    schema: type[SystemConfig] = import_module(f"unbraid.trainers.systems.{system}.config").Config
    return schema


def load_config(content: Mapping[str, Any], where: str = "the configuration") -> SystemConfig:
    """The typed configuration of a dumped one (``config.model_dump(mode="json")``).

    Args:
        where: it comes from, for messages.

    Raises:
        ConfigError: on an unknown system, key or value.
    """
    try:
        schema = system_schema(content.get("system"))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    check_keys(content, schema, where)
    try:
        return schema.model_validate(meant(content, schema))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in explain(error).splitlines())) from None
