"""Campaign files: whatever is wrong is told before anything starts."""

import json
from typing import Any

import pytest

from tests.trainers.search.campaigns import content
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.reading import campaign_names, label_readers, parse_campaign, read_campaign

CODES = {"codes.categorical": {"choice": [[10], []]}}


@pytest.mark.parametrize("name", campaign_names())
def test_every_campaign_that_comes_along_is_valid_at_all_corners(name: str) -> None:
    campaign = read_campaign(name)
    assert campaign.name == name
    assert campaign.most_trials >= 2
    assert label_readers(campaign) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"space": {"loss.info_categrical": {"uniform": [0, 1]}}}, r"space\.loss\.info_categrical: unknown key .*did you mean"),
    ({"space": {"run.updates": {"integer": [1, 9]}}}, r"space\.run\.updates: where, how long .* is not searched"),
    (
        {"space": {"optim.lr_generator": {"uniform": [0.0, 1.0]}}},
        r"at the corner optim\.lr_generator=0\.0: optim\.lr_generator",
    ),
    ({"space": {"loss.info_categorical": {"unifrom": [0, 1]}}}, r"loss\.info_categorical: expected one of uniform"),
    ({"space": {"codes.noise": {"choice": [8]}}}, r"fixed\.codes\.noise: is in the space too"),
    ({"space": {}}, "expected dotted paths"),
    ({"objectives": [{"metric": "info/shar"}]}, r"info/shar is not reported by infogan .*did you mean info/share"),
    ({"objectives": [{"metric": "code/accuracy"}]}, "code/accuracy reads labels; say labels: select"),
    ({"objectives": [{"metric": "code/accuracy"}], "labels": "select", "space": CODES}, "not reported by infogan at codes"),
    ({"objectives": [{"metric": "selection/centrality"}]}, r"set seeds\.count to 2 or more"),
    ({"budget": {}}, r"budget\.trials: a random search never ends by itself"),
    ({"budget": {"trials": 0}}, r"budget\.trials: .*greater than or equal to 1"),
    ({"budget": {"trials": 2}, "seeds": {"count": 3}}, "allows no configuration its seeds"),
    ({"budget": {"trials": 4, "updates": 1}}, "allows no trial to be measured once"),
    ({"scheduler": {"kind": "asha", "grace": 8}}, "end before it is measured for the first time"),
    ({"scheduler": {"kind": "pbt", "every": 2}, "space": CODES}, "must have the same networks and codes"),
    ({"scheduler": {"kind": "pbt", "every": 2}, "concurrency": 1}, "the whole population takes turns"),
    ({"searcher": {"kind": "grid"}}, "a grid needs a choice or an integer"),
    ({"fixed": {"run.seed": 3}}, r"fixed\.run\.seed: set seed of the campaign"),
    ({"preset": "infogan-mnst"}, "no such preset.*did you mean infogan-mnist"),
    ({"preset": "dpig-people-small"}, "is a pipeline of several runs"),
    ({"objektives": []}, r"objektives: unknown key \(did you mean objectives"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_mistake_is_one_error_that_names_file_and_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_campaign(json.dumps(content(**change)), "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")


def test_several_objectives_must_say_which_one_stops_trials() -> None:
    two = [{"metric": "info/share"}, {"metric": "quality/coverage"}]
    with pytest.raises(ConfigError, match=r"scheduler\.metric: with several objectives"):
        parse_campaign(json.dumps(content(objectives=two, scheduler={"kind": "asha", "grace": 2})), "mine.yaml")
    named = {"kind": "asha", "grace": 2, "metric": "info/share"}
    assert parse_campaign(json.dumps(content(objectives=two, scheduler=named)), "mine.yaml").rungs == (2, 6)


def test_a_file_that_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*infogan-mnist-weights-small"):
        read_campaign("infogan-mnist-weights-smal")


def test_trials_differ_in_seed_and_name_only_where_values_are_the_same() -> None:
    campaign = parse_campaign(json.dumps(content(seeds={"count": 2})), "mine.yaml")
    first, second = (campaign.config({"loss.info_categorical": 0.5}, seed, f"t{seed}") for seed in (0, 1))
    assert (first.run.seed, second.run.seed) == (0, 1)
    same = {"name": "t", "seed": 0}
    assert first.run.model_copy(update=same) == second.run.model_copy(update=same)
