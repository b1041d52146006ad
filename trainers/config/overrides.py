"""The configuration that a command means: a preset or a file, then overrides, then checks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unbraid.datasets.untrusted.documents import parse_yaml
from unbraid.trainers.config.presets import all_presets, extended, preset_names, read_preset, read_yaml, stages_in
from unbraid.trainers.config.schema import SystemConfig, check_keys, explain
from unbraid.trainers.config.systems import system_schema
from unbraid.trainers.errors import ConfigError


def resolve(preset: str | None, overrides: Iterable[str] = (), config_file: Path | None = None) -> SystemConfig:
    """The configuration that a command means.

    Args:
        preset: name of a preset; or None when ``config_file``, a resolved config of an earlier run, is given.
        overrides: ``section.key=value`` in YAML syntax; later ones win.

    Raises:
        ConfigError: on an unknown preset, key or value.
    """
    own = False
    if config_file is not None:
        where = config_file.name
        content = extended(read_yaml(where, _read_text(config_file)), where)
    elif preset is not None:
        content = read_preset(preset)
        file = all_presets()[preset]
        where, own = file.where, file.own
        if "pipeline" in content:
            stages = ", ".join(stage.preset for stage in stages_in(content, where).values())
            raise ConfigError(f"preset {preset!r} is a pipeline of several runs; here one is meant, such as {stages}")
    else:
        raise ConfigError(f"name a preset ({', '.join(preset_names())}) or give --config FILE")
    schema = system_schema(content.get("system"))
    check_keys(content, schema, where)
    for override in overrides:
        _apply(content, override, schema)
    try:
        config = schema.model_validate(content)
    except ValidationError as error:
        problems = explain(error).splitlines()
        raise ConfigError("\n".join(f"{where}: {line}" if own else line for line in problems)) from None
    if config.run.name is None:
        run = config.run.model_copy(update={"name": f"{preset or config.system}-{config.digest()}"})
        config = config.model_copy(update={"run": run})
    return config


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a config.yaml of a run") from None


def _apply(content: dict[str, Any], override: str, schema: type[SystemConfig]) -> None:
    path, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{override!r}: expected section.key=value, such as run.updates=2000")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"{path}: {text!r} is not a YAML value") from None
    keys = path.split(".")
    nested: Any = value
    for key in reversed(keys):
        nested = {key: nested}
    check_keys(nested, schema, "command line")
    section = content
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: {key} is not a section")
    section[keys[-1]] = value
