"""Campaigns from the words of a command."""

from typing import Any

import pytest

from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.command_line import Wishes, campaign_of_words
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign

PRESET = "infogan-mnist-small"


def of(*words: str, **wishes: Any) -> Campaign:
    return campaign_of_words(PRESET, words, Wishes(**wishes))


def test_ranges_and_choices_are_searched_and_plain_values_fixed() -> None:
    campaign = of(
        "loss.info_continuous=log(0.03,3)",
        "optim.decay_from=uniform(0.4, 1)",
        "codes.continuous=0..4",
        "codes.categorical=[10]|[20]|[5,5]",
        "augment.enabled=true|false",
        "run.updates=300",
        trials=30,
        seeds=2,
    )
    assert campaign.model_dump(mode="json", exclude_defaults=True)["space"] == {
        "loss.info_continuous": {"log_uniform": [0.03, 3.0]},
        "optim.decay_from": {"uniform": [0.4, 1.0]},
        "codes.continuous": {"integer": [0, 4]},
        "codes.categorical": {"choice": [[10], [20], [5, 5]]},
        "augment.enabled": {"choice": [True, False]},
    }
    assert campaign.fixed == {"run.updates": 300}
    assert campaign.searcher.kind == "tpe"
    assert (campaign.max_trials, campaign.seeds.count) == (30, 2)


def test_seeds_alone_are_one_configuration() -> None:
    campaign = of("run.seed=3..7")
    assert (campaign.space, campaign.max_trials, campaign.seed) == ({}, 5, 3)
    assert [campaign.trial_config({}, seed, "x").run.seed for seed in range(5)] == [3, 4, 5, 6, 7]
    assert of(seeds=5).max_trials == 5
    assert of("run.seed=7", seeds=2).seed == 7


def test_a_small_space_is_tried_whole_and_a_large_one_by_tpe() -> None:
    assert of("optim.lr_generator=1e-3|2e-3").searcher.kind == "grid"
    assert of("optim.lr_generator=1e-3|2e-3|3e-3", trials=2).searcher.kind == "tpe"


def test_configurations_are_compared_without_labels_by_what_can_compare_them() -> None:
    weights = of("loss.info_continuous=log(0.1,1)", trials=4)
    assert weights.metrics == ["selection/covered_information"]
    codes = of("codes.continuous=0|1|2")
    assert (codes.metrics, codes.seeds.count) == ([CENTRALITY], 3)
    assert of("codes.continuous=0|1", seeds=2).seeds.count == 2
    named = of("loss.info_continuous=0.1|1", objectives=("info/share",))
    assert named.metrics == ["info/share"]


def test_other_systems_are_compared_by_their_own_measure() -> None:
    found = campaign_of_words("pix2pix-mnist-cdcb-small", ["loss.l1=10|100"], Wishes())
    assert [(o.metric, o.mode) for o in found.objectives] == [("translated/l1", "min")]


def test_the_name_says_what_is_searched_and_not_how_long() -> None:
    first = of("loss.info_continuous=log(0.1,1)", trials=4)
    assert first.name.startswith(f"{PRESET}-")
    assert of("loss.info_continuous=log(0.1,1)", trials=9, minutes=5).name == first.name
    assert of("loss.info_continuous=log(0.1,2)", trials=4).name != first.name
    assert of("loss.info_continuous=log(0.1,1)", trials=4, name="mine").name == "mine"


def test_any_key_of_a_campaign_can_be_set() -> None:
    settings = ("scheduler.kind=asha", "scheduler.grace=20", "concurrency=2", "fixed.run.updates=100")
    found = of("loss.info_continuous=log(0.1,1)", trials=4, settings=settings)
    assert found.rungs == (20, 60)
    assert found.concurrency == 2


@pytest.mark.parametrize(
    ("words", "wishes", "message"),
    [
        ([], {}, "nothing is searched"),
        (["loss.info_continuous=1"], {}, "nothing is searched"),
        (["loss.info_continuous"], {}, "expected section.key=value"),
        (["loss.info_continuous=log(0.1,1)"], {}, "--trials: say how many"),
        (["loss.info_continuous=log(0.1)"], {"trials": 4}, "expected two bounds"),
        (["loss.info_continuous=log(0.1,x)"], {"trials": 4}, "loss.info_continuous"),
        (["loss.info_continuous=log(1,0.1)"], {"trials": 4}, "the first must be less"),
        (["loss.info_continuous=log(0,1)"], {"trials": 4}, "a logarithm needs more than 0"),
        (["loss.info_continuous=lin(0,1)"], {"trials": 4}, r"expected log\(LOW,HIGH\)"),
        (["loss.info_continuous=log(0.1,1"], {"trials": 4}, r"expected log\(LOW,HIGH\)"),
        (["loss.info_continuous=1||2"], {}, "a choice is empty"),
        (["run.seed=0", "run.seed=1"], {}, "given more than once; a shell turns"),
        (["run.seed=1|5"], {}, "consecutive"),
        (["run.seed=0..4"], {"seeds": 3}, "say the same"),
        (["loss.nothing=1|2"], {}, "loss.nothing"),
        (["run.updates=10|20"], {}, "not searched"),
        (["codes.continuous=1|2"], {"seeds": 1}, "compares the models"),
        (["loss.info_continuous=1|2"], {"objectives": ("info/share:least",)}, "METRIC:min"),
        (["loss.info_continuous=1|2"], {"objectives": ("info/shore",)}, "info/shore is not reported"),
        (["loss.info_continuous=1|2"], {"settings": ("budget",)}, "expected key=value"),
        (["codes.continuous=0..1000"], {}, "--trials: say how many"),
    ],
)
def test_a_mistake_is_named(words: list[str], wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        of(*words, **wishes)
