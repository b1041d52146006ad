"""The configurations that a campaign starts from: values, runs, or the best of another campaign, as points of its space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig, absolute
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import CONFIG_KEY, read_config
from unbraid.trainers.search.campaign.checks import corner_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.journal import FILE_KEY, Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.space import Params, holds, is_active, lies_within, values_of

OF_A_CAMPAIGN = 3
"""Best configurations that are taken from another campaign."""
PRESET = "preset"
"""The entry that means the preset's own values."""


def with_starts(campaign: Campaign) -> Campaign:
    """The campaign with each entry of ``start_from`` as a whole point of its space, each once.

    Raises:
        ConfigError: naming the entry that is no such point, or that cannot be read.
    """
    points: list[Params] = []
    for entry in campaign.start_from:
        for where, values in _values(campaign, entry):
            point = _point(campaign, where, values)
            if point not in points:
                points.append(point)
    return campaign.model_copy(update={"start_from": points})


def _values(campaign: Campaign, entry: Mapping[str, Any] | str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The values that an entry gives, by dotted path, each with where it is from."""
    if not isinstance(entry, str):
        yield str(dict(entry)), entry
        return
    if entry == PRESET:
        yield f"preset {campaign.preset}", {}
        return
    place = absolute(entry)
    try:
        store = open_store(place)
        if store.exists(FILE_KEY):
            folder, _, name = place.rstrip("/").rpartition("/")
            journal = Journal.open(folder, name)
            other = journal.campaign()
            done = [c for c in journal.read() if not c.is_partial and c.scores(other) is not None]
            if not done:
                raise ConfigError(f"start_from: {entry}: no configuration of that campaign was trained to its end")
            for configuration in ranked(done, other)[:OF_A_CAMPAIGN]:
                yield f"{entry}, configuration {configuration.number:04d}", other.fixed | configuration.params
            return
        if not store.exists(CONFIG_KEY):
            raise ConfigError(f"start_from: {entry}: expected values, `{PRESET}`, or the folder or URL of a run or a campaign")
        yield entry, _of_run(campaign, entry, read_config(store))
    except DataError as error:
        raise ConfigError(f"start_from: {entry}: {error}") from None


def _of_run(campaign: Campaign, entry: str, config: SystemConfig) -> Mapping[str, Any]:
    system = corner_config(campaign).system
    if config.system != system:
        raise ConfigError(f"start_from: {entry}: is a run of {config.system}, and the campaign's preset of {system}")
    return values_of(campaign.space, config.model_dump(mode="json"))


def _point(campaign: Campaign, where: str, values: Mapping[str, Any]) -> Params:
    """A whole point: what the values do not say is as in the preset."""
    of_preset = values_of(campaign.space, resolve(campaign.preset).model_dump(mode="json"))
    known = of_preset | {path: value for path, value in values.items() if path in campaign.space}
    point = {path: known[path] for path, dimension in campaign.space.items() if path in known and is_active(dimension, known)}
    if not holds(campaign.space, point):
        missing = [path for path in campaign.space if path not in point]
        raise ConfigError(f"start_from: {where}: is no point of the space; expected values for {', '.join(missing) or 'it'}")
    outside = [f"{path}={point[path]}" for path in point if not lies_within(campaign.space[path], point[path])]
    if outside:
        raise ConfigError(f"start_from: {where}: {', '.join(outside)} lies outside of the space; widen it, or leave this out")
    return point
