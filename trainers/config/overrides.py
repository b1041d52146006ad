"""The configuration that a command means: a preset or a file, then overrides, then checks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unbraid.datasets.untrusted.yaml12 import parse_scalars
from unbraid.trainers.config.presets import all_presets, extended, merged, read_preset, read_yaml, stages_in
from unbraid.trainers.config.schema import SystemConfig, check_keys
from unbraid.trainers.config.systems import system_schema
from unbraid.trainers.config.words import explain, meant
from unbraid.trainers.errors import ConfigError

RUN_PARTS = ("run.json", "metrics.jsonl", "checkpoints")
"""What a run's folder holds beside its config.yaml: one of these at least."""


def resolve(preset: str | None, overrides: Iterable[str] = (), config_file: Path | str | None = None) -> SystemConfig:
    """The configuration that a command means.

    Args:
        preset: name of a preset; or None when ``config_file``, a resolved config of an earlier run, is given by its path or
            URL. In a run's folder it is that run's, where it lies now, whatever place and name the file says: the folder may
            have been moved.
        overrides: ``section.key=value`` in YAML syntax; later ones win.

    Raises:
        ConfigError: on an unknown preset, key or value.
    """
    own = False
    if config_file is not None:
        where, content = _from_file(str(config_file))
    elif preset is not None:
        content = read_preset(preset)
        file = all_presets()[preset]
        where, own = file.where, file.own
        if "pipeline" in content:
            stages = ", ".join(stage.preset for stage in stages_in(content, where).values())
            raise ConfigError(f"preset {preset!r} is a pipeline of several runs; here one is meant, such as {stages}")
    else:
        raise ConfigError("name a preset (`unbraid presets` lists them), or give --config FILE")
    try:
        schema = system_schema(content.get("system"))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    check_keys(content, schema, where)
    for override in overrides:
        content = _overridden(content, override, schema)
    try:
        config = schema.model_validate(meant(content, schema))
    except ValidationError as error:
        problems = explain(error).splitlines()
        raise ConfigError("\n".join(f"{where}: {line}" if own else line for line in problems)) from None
    if config.run.name is None:
        run = config.run.model_copy(update={"name": f"{preset or config.system}-{config.digest()}"})
        config = config.model_copy(update={"run": run})
    return config


def _from_file(reference: str) -> tuple[str, dict[str, Any]]:
    """The name and the content of a file, with storage and name of the run in whose folder it lies, if it lies in one."""
    if "://" in reference:
        text, is_of_run = _read_object(reference)
        place = reference
    else:
        path = Path(reference).absolute()
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{reference}: cannot be read ({error.strerror}); expected a config.yaml of a run") from None
        is_of_run = any((path.parent / part).exists() for part in RUN_PARTS)
        place = str(path)
    folder, _, where = place.rpartition("/")
    content = extended(read_yaml(where, text), where)
    if where != "config.yaml" or not is_of_run:
        return where, content
    run = content.get("run")
    storage, _, name = folder.rpartition("/")
    return where, content | {"run": (run if isinstance(run, dict) else {}) | {"storage": storage, "name": name}}


def _read_object(url: str) -> tuple[bytes, bool]:
    """An object's content, and whether it lies in a run's folder."""
    from unbraid.datasets.errors import DataError
    from unbraid.datasets.store import open_store

    folder, _, name = url.rpartition("/")
    try:
        store = open_store(folder)
        keys = store.keys()
        return store.get(name), any(key.split("/")[0] in RUN_PARTS for key in keys)
    except DataError as error:
        raise ConfigError(f"{url}: cannot be read ({error}); expected a config.yaml of a run") from None


def _overridden(content: dict[str, Any], override: str, schema: type[SystemConfig]) -> dict[str, Any]:
    """The content with one override over it: a section is merged, so that the keys that it does not name keep their values."""
    path, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{override!r}: expected section.key=value, such as run.updates=2000")
    try:
        nested: Any = parse_scalars(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path}: {text!r} is not a YAML value ({error}); quote it as a shell passes it on: '{path}=…'"
        ) from None
    for key in reversed(path.split(".")):
        nested = {key: nested}
    check_keys(nested, schema, "command line")
    return merged(content, nested)
