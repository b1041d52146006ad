"""The configurations that a campaign starts from: values, runs, or the best of another campaign, as points of its space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import open_below, open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig, absolute
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import CONFIG_KEY, read_config
from unbraid.trainers.search.campaign.checks import corner_config
from unbraid.trainers.search.campaign.file import PRESET, Campaign
from unbraid.trainers.search.campaign.journal import FILE_KEY, Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.space import Params, holds, is_active, lies_within, values_of

OF_A_CAMPAIGN = 3
"""Best configurations that are taken from another campaign."""


def starting_points(campaign: Campaign) -> list[Params]:
    """The points that the entries of ``start_from`` are, each once.

    Raises:
        ConfigError: naming the entry that is no point of the space, or that cannot be read.
    """
    points: list[Params] = []
    for entry in campaign.start_from:
        points += [point for point in points_of(campaign, entry) if point not in points]
    if campaign.budget.trials is not None and len(points) > campaign.budget.trials:
        raise ConfigError(f"start_from: has {len(points)} points, and budget.trials={campaign.budget.trials} allows fewer")
    return points


def check_starts(campaign: Campaign) -> None:
    """Check the entries of ``start_from`` of a campaign that is new; one that has begun has its points in the storage.

    Args, Raises: as of :func:`starting_points`.
    """
    if not campaign.start_from:
        return
    with suppress(DataError):  # a storage that is not reached from here
        if Journal(open_below(campaign.storage, campaign.name)).exists:
            return
    starting_points(campaign)


def points_of(campaign: Campaign, entry: Mapping[str, Any] | str) -> list[Params]:
    """The points that one entry of ``start_from`` is.

    Args, Raises: as of :func:`starting_points`.
    """
    is_said = not isinstance(entry, str)
    return [as_point(campaign, f"start_from: {where}", values, is_said) for where, values in _values(campaign, entry)]


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


def as_point(campaign: Campaign, where: str, values: Mapping[str, Any], is_said: bool = True) -> Params:
    """A whole point: what the values do not say is as in the preset.

    Args:
        where: the values are from, for messages.
        is_said: whether a person has named these values, so that one of no dimension is a mistake.

    Raises:
        ConfigError: when they are no point of the space.
    """
    unknown = [path for path in values if path not in campaign.space]
    if is_said and unknown:
        raise ConfigError(f"{where}: {', '.join(unknown)} is not searched; searched are {', '.join(campaign.space)}")
    of_preset = values_of(campaign.space, resolve(campaign.preset).model_dump(mode="json"))
    known = of_preset | {path: value for path, value in values.items() if path in campaign.space}
    point = {path: known[path] for path, dimension in campaign.space.items() if path in known and is_active(dimension, known)}
    if not holds(campaign.space, point):
        missing = [path for path in campaign.space if path not in point]
        raise ConfigError(f"{where}: is no point of the space; expected values for {', '.join(missing) or 'it'}")
    outside = [f"{path}={point[path]}" for path in point if not lies_within(campaign.space[path], point[path])]
    if outside:
        raise ConfigError(f"{where}: {', '.join(outside)} lies outside of the space; widen it, or leave this out")
    return point
