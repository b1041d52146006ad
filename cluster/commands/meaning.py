"""What the words of ``train`` and ``tune`` mean: read once, for the commands themselves and for ``submit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unbraid.trainers.config.schema import absolute
from unbraid.trainers.errors import ConfigError

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig
    from unbraid.trainers.search.campaign.command_line import Wishes
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
    first: str | None, overrides: Sequence[str], resume: str | None, storage: str | None, wishes: Wishes
) -> RequestedCampaign:
    """Resolve the arguments of ``tune run``.

    Args:
        first: the first word: a campaign's file or name, or a preset; with ``resume`` it is an override.
        wishes: the options that make a campaign of a preset.

    Raises:
        ConfigError: on an unknown campaign, preset, key or value, and on overrides beside ``resume``.
    """
    from unbraid.trainers.config.presets import preset_names
    from unbraid.trainers.search.campaign.command_line import campaign_of_words
    from unbraid.trainers.search.campaign.reading import campaign_names, read_campaign
    from unbraid.trainers.search.campaign.starts import check_starts

    if resume is not None:
        changes = (*((first,) if first else ()), *overrides, *(("a preset's options",) if wishes.any else ()))
        if changes:
            raise ConfigError(f"--resume: goes on with the campaign as it is; to change {changes[0]}, name its file")
        return RequestedCampaign(resume, absolute(storage or "campaigns"), None)
    if first is None:
        raise ConfigError(
            "name a campaign's file, a preset with what to search, or --resume NAME; `unbraid tune campaigns` lists campaigns"
        )
    if "=" in first:
        raise ConfigError(f"{first}: a preset or a campaign's file comes before what is searched in it: PRESET {first}")
    if first in preset_names() and first not in campaign_names() and not Path(first).is_file():
        campaign = campaign_of_words(first, overrides, wishes)
    elif wishes.any:
        raise ConfigError(
            f"{first}: is a campaign's file, which says trials, seeds and objectives itself: change it by budget.trials=30, "
            "seeds.count=5; --trials, --seeds, --minutes, --objective, --name, --start-from and --set are for presets"
        )
    else:
        campaign = read_campaign(first, overrides)
    if storage is not None:
        campaign = campaign.model_copy(update={"storage": absolute(storage)})
    check_starts(campaign)
    return RequestedCampaign(campaign.name, campaign.storage, campaign)
