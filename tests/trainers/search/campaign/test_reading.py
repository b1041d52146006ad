"""Reading campaigns: by name, from files, with overrides."""

import json
from typing import Annotated

import pytest
from pydantic import Field

from tests.trainers.search.campaigns import content, parsed
from unbraid.trainers.config.section import FormerName
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.checks import label_reading_metrics
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.reading import campaign_names, parse_campaign, read_campaign


@pytest.mark.parametrize("name", campaign_names())
def test_every_campaign_that_comes_with_unbraid_is_valid_at_all_corners(name: str) -> None:
    campaign = read_campaign(name)
    assert campaign.name == name
    assert campaign.max_trials >= 2
    assert label_reading_metrics(campaign) == []


def test_a_missing_file_is_an_error_that_names_a_similar_campaign() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*did you mean infogan-mnist-weights-small"):
        read_campaign("infogan-mnist-weights-smal")


def test_overrides_set_keys_of_the_campaign_and_dotted_paths_under_fixed() -> None:
    overrides = ["budget.trials=9", "fixed.run.updates=12", "labels=none"]
    campaign = parse_campaign(json.dumps(content()), "mine.yaml", overrides)
    assert (campaign.budget.trials, campaign.updates, campaign.labels) == (9, 12, "none")


def test_an_unknown_key_is_refused_with_a_similar_one() -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml: objektives: unknown key in the campaign \(did you mean objectives"):
        parsed(objektives=[])
    with pytest.raises(ConfigError, match=r"mine\.yaml: budget\.trails: unknown key .*did you mean budget\.trials"):
        parsed(budget={"trails": 4})


def test_a_renamed_key_is_refused_with_its_present_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Renamed(Campaign):
        keep: Annotated[int, FormerName("survivors")] = Field(3, ge=1)

    monkeypatch.setattr("unbraid.trainers.search.campaign.reading.Campaign", Renamed)
    with pytest.raises(ConfigError, match=r"mine\.yaml: survivors: in the campaign: this key is called keep now"):
        parsed(survivors=2)


@pytest.mark.parametrize("section", ["fixed", "space"])
def test_a_renamed_key_of_the_configuration_is_refused_with_its_present_name(section: str) -> None:
    value = {"fixed": 30, "space": {"integer": [30, 60]}}[section]
    message = rf"mine\.yaml: {section}\.run\.silence_seconds: .*is called run\.worker_timeout_seconds now"
    with pytest.raises(ConfigError, match=message):
        parsed(**{section: {"run.silence_seconds": value}})
