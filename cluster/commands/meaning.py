"""What the words of ``train`` and ``tune`` mean: read once, for the commands themselves and for ``submit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unbraid.trainers.config.schema import absolute
from unbraid.trainers.errors import ConfigError

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig
    from unbraid.trainers.search.campaign.file import Campaign


@dataclass(frozen=True)
class RequestedRuns:
    """The runs that a ``train`` command asks for.

    Attributes:
        configs: the configuration of each stage by its name, in the order of training; a preset without stages has one, "".
        source: the preset or the file that they come from.
    """

    configs: Mapping[str, SystemConfig]
    source: str

    @property
    def last(self) -> SystemConfig:
        """The configuration of the run that is trained last."""
        return list(self.configs.values())[-1]

    @property
    def workers(self) -> int:
        """The most workers that any of the runs has."""
        return max(config.run.workers for config in self.configs.values())


def requested_runs(preset: str | None, overrides: Sequence[str], config_file: str | None, debug: bool = False) -> RequestedRuns:
    """Resolve the arguments of ``train``.

    Args:
        preset: with ``config_file`` it is an override: both are the first word of the command.
        debug: one worker, unless an override says otherwise.

    Raises:
        ConfigError: on an unknown preset, key or value, and where there is no preset, or one too many.
    """
    from unbraid.trainers.config.overrides import resolve
    from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline

    overrides = tuple(overrides)
    if config_file is not None and preset is not None:
        if "=" not in preset:
            raise ConfigError(f"{preset}: both a preset and --config {config_file} are given; leave one of them out")
        overrides, preset = (preset, *overrides), None
    if preset is not None and "=" in preset:
        raise ConfigError(f"{preset}: a preset comes before what is changed in it: PRESET {preset}")
    if debug and not any(override.startswith("run.workers=") for override in overrides):
        overrides = (*overrides, "run.workers=1")
    if preset is not None and is_pipeline(preset):
        return RequestedRuns(resolve_pipeline(preset, overrides), preset)
    return RequestedRuns({"": resolve(preset, overrides, config_file)}, str(preset or config_file))


@dataclass(frozen=True)
class RequestedCampaign:
    """The campaign that a ``tune`` command asks for.

    Attributes:
        storage: a URL or an absolute folder.
        content: as its file says; None with ``--resume``: it is in the storage.
    """

    name: str
    storage: str
    content: Campaign | None


def requested_campaign(
    file: str | None, overrides: Sequence[str], resume: str | None, storage: str | None
) -> RequestedCampaign:
    """Resolve the arguments of ``tune run``.

    Args:
        file: with ``resume`` it is an override: both are the first word of the command.

    Raises:
        ConfigError: on an unknown campaign, key or value, and on overrides beside ``resume``.
    """
    from unbraid.trainers.search.campaign.reading import read_campaign

    if resume is not None:
        changes = (*((file,) if file else ()), *overrides)
        if changes:
            raise ConfigError(f"--resume: goes on with the campaign as it is; to change {changes[0]}, name its file")
        return RequestedCampaign(resume, absolute(storage or "campaigns"), None)
    if file is None:
        raise ConfigError("name a campaign's file, or --resume NAME; `unbraid tune campaigns` lists those that are there")
    campaign = read_campaign(file, overrides)
    if storage is not None:
        campaign = campaign.model_copy(update={"storage": absolute(storage)})
    return RequestedCampaign(campaign.name, campaign.storage, campaign)
