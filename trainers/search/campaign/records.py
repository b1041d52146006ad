"""The content of a campaign's records, as they are read from its storage."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ConfigDict, JsonValue
from typing_extensions import TypedDict  # pydantic reads none but this one before Python 3.12

from unbraid.datasets.untrusted.documents import Count, Name, Seconds, Text
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Descent
from unbraid.trainers.search.campaign.space import holds


class CampaignRecord(TypedDict, total=False):
    """The content of ``campaign.json``; fields of provenance are kept as they are."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # the name is pydantic's

    command: Text
    started: Seconds
    seconds: Seconds
    status: Name
    message: Text
    versions: dict[Name, Text | None]


@dataclass(frozen=True)
class ConfigurationRecord:
    """The content of an object below ``configurations/``."""

    number: Count
    params: dict[Name, JsonValue]
    centrality: dict[int, float] | None
    given_up: bool
    descents: list[Descent] = field(default_factory=list)
    revision: Count = 0
    asked: bool = False


def all_held(campaign: Campaign | None, record: ConfigurationRecord) -> bool:
    """Whether the values of a record, those that were copied too, are points of the space of its revision."""
    if campaign is None:
        return True
    if record.revision > campaign.revision:
        return False
    space = campaign.at(record.revision).space
    return all(holds(space, params) for params in (record.params, *(descent.params for descent in record.descents)))
