"""What a campaign's history says about its search."""

import random
from typing import Any

import pytest

from tests.trainers.search.campaigns import parsed
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, State, Trial
from unbraid.trainers.search.plan.proposals import study_of
from unbraid.trainers.search.report.findings import findings, spearman
from unbraid.trainers.search.report.plots import importances


def trained(number: int, share: float, accuracy: float = 0.0, updates: int = 8, state: State = "finished") -> Configuration:
    scores = {"info/share": share, "code/accuracy": accuracy}
    params: dict[str, Any] = {"loss.info_categorical": 0.1 + 0.3 * number, "optim.lr_generator": 1e-4 * (1 + number % 5)}
    return Configuration(number, params, {0: Trial(number, 0, state, updates=updates, rungs=[(updates, scores)])})


def test_rank_correlation_counts_equal_values_by_their_mean_rank() -> None:
    assert spearman([(1, 10), (2, 20), (3, 21)]) == pytest.approx(1.0)
    assert spearman([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1.0)
    assert spearman([(1, 1), (1, 2), (2, 3)]) == pytest.approx(0.8660254)
    assert spearman([(1, 1), (1, 2)]) == 0.0


def test_a_choice_without_labels_is_compared_with_the_measure_that_reads_them() -> None:
    campaign = parsed()
    agreeing = [trained(number, 0.1 * number, 0.05 * number) for number in range(6)]
    (line,) = findings(campaign, [*agreeing, trained(6, 0.0, 0.9, state="stopped")])
    assert "orders the 6 fully trained configurations like code/accuracy" in line
    assert "rank correlation of 1.00 (95 % interval 1.00 to 1.00)" in line
    opposed = [trained(number, 0.1 * number, -0.05 * number) for number in range(6)]
    assert "rank correlation of -1.00" in findings(campaign, opposed)[0]
    assert findings(campaign, agreeing[:4]) == []


@pytest.fixture
def tpe() -> Campaign:
    return parsed(searcher={"kind": "tpe", "startup": 2})


def test_the_search_is_compared_with_the_random_configurations_that_it_began_with(tpe: Campaign) -> None:
    known = [trained(0, 0.2), trained(1, 0.4), trained(2, 0.3), trained(3, 0.5)]
    expected = (
        "the random configurations took 16 updates, the best of them scores 0.4000; the search passed it after 16 further"
    )
    assert findings(tpe, known)[0].startswith(expected)
    assert "has not passed it in 8 further updates" in findings(tpe, known[:3])[0]
    assert findings(tpe, known[:2]) == []
    assert findings(parsed(), known) == []  # a random search has nothing to be compared with


def test_what_decides_the_score_is_important_and_what_does_not_is_not() -> None:
    source = random.Random(0)
    known = []
    for number in range(24):
        one = trained(number, 0.0)
        weight = source.uniform(0.1, 10.0)
        one.start = {"loss.info_categorical": weight, "optim.lr_generator": source.uniform(1e-4, 1e-2)}
        one.trials[0].rungs = [(8, {"info/share": weight + source.gauss(0, 0.1)})]
        known.append(one)
    found = importances(study_of(parsed(), known), ["loss.info_categorical", "optim.lr_generator"], 0)
    decisive, idle = sorted(found["loss.info_categorical"]), sorted(found["optim.lr_generator"])
    assert len(decisive) > 10
    assert decisive[0] > 0.7
    assert idle[-1] < 0.3
