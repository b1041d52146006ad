"""Checks of a campaign: whatever is wrong is one error before anything starts, which names the file and the key."""

from typing import Any

import pytest
from pydantic import BaseModel

from tests.trainers.search.campaigns import parsed
from unbraid.trainers.config.schema import effects
from unbraid.trainers.config.systems import system_schema
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.reading import parse_campaign

CODES = {"codes.categorical": {"choice": [[10], []]}}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"space": {"loss.info_categrical": {"uniform": [0, 1]}}}, r"space\.loss\.info_categrical: unknown key .*did you mean"),
    ({"fixed": {"loss.info_categrical": 1}}, r"fixed\.loss\.info_categrical: unknown key .*did you mean"),
    (
        {"space": {"run.updates": {"integer": [1, 9]}}},
        r"space\.run\.updates: run\.updates is not searched.* under fixed",
    ),
    ({"space": {"run": {"choice": [{"updates": 9}]}}}, r"space\.run: run\.name is not searched"),
    ({"space": {"run.seed": {"integer": [1, 9]}}}, r"space\.run\.seed: .*because seed of the campaign decides it"),
    ({"space": {"data.url": {"choice": ["a", "b"]}}}, r"space\.data\.url: .*scores on other images cannot be compared"),
    (
        {"space": {"optim.lr_generator": {"uniform": [0.0, 1.0]}}},
        r"at the corner optim\.lr_generator=0\.0: optim\.lr_generator",
    ),
    ({"space": {"loss.info_categorical": {"unifrom": [0, 1]}}}, r"loss\.info_categorical: expected one of uniform"),
    ({"space": {"codes.noise": {"choice": [8]}}}, r"fixed\.codes\.noise: is in the space too"),
    ({"space": {}}, "expected dotted paths"),
    ({"collapse": {"lines": 3}}, r"collapse: every run is judged now; set fixed: \{divergence\.loss_d"),
    ({"objectives": [{"metric": "info/shar"}]}, r"info/shar is not reported by infogan .*did you mean info/share"),
    ({"objectives": [{"metric": "code/accuracy"}]}, "code/accuracy reads labels; set labels: select"),
    ({"objectives": [{"metric": "code/accuracy"}], "labels": "select", "space": CODES}, "not reported by infogan at codes"),
    ({"objectives": [{"metric": "selection/centrality"}]}, r"set seeds\.count to 2 or more"),
    ({"budget": {}}, r"budget\.trials: a random search has no end of its own"),
    ({"budget": {"trials": 0}}, r"budget\.trials: expected 1 or more"),
    ({"budget": {"trials": 2}, "seeds": {"count": 3}}, r"budget\.trials=2 is less than seeds\.count=3"),
    ({"budget": {"trials": 4, "updates": 1}}, r"budget\.updates=1 ends the campaign before any trial is evaluated"),
    ({"scheduler": {"kind": "asha", "grace": 8}}, r"scheduler: trials end after run\.updates=8, before the first evaluation"),
    ({"scheduler": {"kind": "pbt", "every": 2}, "space": CODES}, "must have the same networks and codes"),
    ({"scheduler": {"kind": "pbt", "every": 2}, "seeds": {"count": 2}}, "each member of the population has one seed"),
    ({"scheduler": {"kind": "pbt", "every": 2}, "budget": {"trials": 1}}, "needs a population of 2 or more"),
    ({"searcher": {"kind": "grid"}}, "a grid needs a choice or an integer"),
    ({"fixed": {"run.seed": 3}}, r"fixed\.run\.seed: set seed of the campaign"),
    ({"fixed": {"run": {"seed": 3}}}, r"fixed\.run\.seed: set seed of the campaign"),
    ({"fixed": {"data.test_split": "test"}}, r"fixed\.data\.test_split: trials are chosen by data\.validation_split"),
    ({"fixed": {"data": {"test_split": "test"}}}, r"fixed\.data\.test_split: trials are chosen by"),
    ({"space": {"data.test_split": {"choice": ["a", "b"]}}}, r"space\.data\.test_split: .*is not searched"),
    ({"preset": "infogan-mnst"}, "no such preset.*did you mean infogan-mnist"),
    ({"preset": "dpig-people-small"}, "is a pipeline of several runs"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_mistake_is_one_error_that_names_file_and_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parsed(**change)
    assert str(caught.value).startswith("mine.yaml: ")


def test_a_system_without_model_agreement_cannot_be_selected_by_centrality() -> None:
    with pytest.raises(ConfigError, match="cdd has no measure of how far two models agree"):
        parse_campaign(
            "{name: mine, preset: cdd-mnist-cdcb-small, space: {loss.shared: {uniform: [1, 2]}}, seeds: {count: 2}, "
            "objectives: [{metric: selection/centrality}], budget: {trials: 2}}",
            "mine.yaml",
        )


def test_no_key_that_is_not_learnt_can_be_searched() -> None:
    schema = system_schema("infogan")
    for path in effects(schema):
        with pytest.raises(ConfigError, match=rf"space\.{path}: {path} is not searched"):
            parsed(space={path: {"choice": [_default(schema, path)]}})


def _default(schema: type[BaseModel], path: str) -> Any:
    section, name = path.split(".")
    return schema.model_fields[section].default.model_dump(mode="json")[name]


@pytest.mark.usefixtures("new_keys")
def test_a_new_key_is_searchable_only_if_it_is_learnt() -> None:
    assert parsed(space={"run.new_learnt": {"integer": [1, 2]}}).space.keys() == {"run.new_learnt"}
    with pytest.raises(ConfigError, match=r"space\.run\.new_execution: run\.new_execution is not searched"):
        parsed(space={"run.new_execution": {"integer": [1, 2]}})
