"""Pipelines: several runs as one command, where a later run starts from earlier ones.

A pipeline's preset names its stages in order::

    pipeline:
      appearance: {preset: dpig-people-small-appearance}
      mapping: {preset: dpig-people-small-mapping, starts_from: {stages.appearance: appearance}}
"""

from collections.abc import Iterable, Mapping

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.presets import Stage, all_presets, preset_names, read_preset, stages_in
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError


def is_pipeline(preset: str | None) -> bool:
    """Whether a preset names stages instead of one system."""
    return preset in preset_names() and "pipeline" in read_preset(str(preset))


def resolve_pipeline(preset: str, overrides: Iterable[str] = ()) -> dict[str, SystemConfig]:
    """The configuration of every stage by name, in order; a run's name is the pipeline's name and the stage.

    Args:
        overrides: ``STAGE.section.key=value`` is for one stage, ``section.key=value`` for all.

    Raises:
        ConfigError: on an unknown key or value, naming the stage.
    """
    steps = stages_in(read_preset(preset), all_presets()[preset].where)
    overrides = list(overrides)
    stages: dict[str, SystemConfig] = {}
    for name, step in steps.items():
        mine = list(_overrides_of(name, overrides, steps))
        mine += [f"{key}={stages[stage].run.name}" for key, stage in step.starts_from.items()]
        try:
            config = resolve(step.preset, mine)
        except ConfigError as error:
            hint = "\n(a key that one stage has is set by STAGE.key=value)" if "unknown key" in str(error) else ""
            raise ConfigError(f"stage {name}: {error}{hint}") from None
        run = config.run.model_copy(update={"name": _run_name(preset, name, config, mine)})
        stages[name] = config.model_copy(update={"run": run})
    return stages


def _overrides_of(stage: str, overrides: Iterable[str], steps: Mapping[str, Stage]) -> Iterable[str]:
    for override in overrides:
        first, _, rest = override.partition(".")
        if first == stage:
            yield rest
        elif first not in steps:
            yield override


def _run_name(preset: str, stage: str, config: SystemConfig, overrides: Iterable[str]) -> str:
    given = any(override.startswith("run.name=") for override in overrides)
    return f"{config.run.name}-{stage}" if given else f"{preset}-{stage}-{config.digest()}"
