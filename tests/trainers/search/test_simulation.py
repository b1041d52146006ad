"""Histories of faults in virtual time: whatever is lost or killed, no trial is lost or run twice, and the campaign ends."""

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.search.campaigns import METRIC, parsed
from tests.trainers.search.simulation import Cluster, bowl
from unbraid.datasets.store import FolderStore
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.requests import Inbox

SCHEDULERS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "asha": {"kind": "asha", "grace": 2, "reduction": 2},
    "promotion": {"kind": "asha", "grace": 2, "reduction": 2, "type": "promotion"},
    "hyperband": {"kind": "hyperband", "grace": 2, "reduction": 2},
    "median": {"kind": "median", "every": 2},
    "pbt": {"kind": "pbt", "every": 2},
}


@cache
def planned(scheduler: str, trials: int = 12, seeds: int = 1) -> Campaign:
    more = {"scheduler": SCHEDULERS[scheduler], "budget": {"trials": trials}, "seeds": {"count": seeds}}
    return parsed(**more)


def simulated(campaign: Campaign, folder: Path, seed: int, **faults: Any) -> tuple[Cluster, list[Configuration]]:
    campaign = campaign.model_copy(update={"storage": str(folder)})
    journal = Journal.claim(campaign, "simulation")
    cluster = Cluster(campaign, journal, places=4, score=bowl, source=random.Random(seed), **faults)
    return cluster, cluster.run()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("seed", range(4))
def test_no_trial_is_lost_or_run_twice_in_a_history_of_faults(scheduler: str, seed: int, tmp_path: Path) -> None:
    campaign = planned(scheduler)
    cluster, found = simulated(campaign, tmp_path, seed, node_loss=0.1, kill=0.06, drop=0.05)
    trials = {trial.name: trial for configuration in found for trial in configuration.trials.values()}
    assert len(trials) == 12
    assert all(trial.ended for trial in trials.values())
    assert {name for name, member in cluster.members.items() if member.updates == 8} == {
        name for name, trial in trials.items() if trial.state == "finished"
    }
    for name, member in cluster.members.items():
        assert trials[name].updates == member.updates
        assert cluster.ended[name] <= 1
    if scheduler != "median":
        assert any(trial.state == "finished" for trial in trials.values())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("seed", range(2))
def test_whatever_persons_ask_and_when_the_campaign_ends_and_nothing_is_trained_twice(
    scheduler: str, seed: int, tmp_path: Path
) -> None:
    cluster, found = simulated(planned(scheduler), tmp_path, seed, node_loss=0.1, kill=0.06, drop=0.05, asks=0.7)
    inbox = Inbox(cluster.journal.store)
    assert inbox.waiting() == {}
    done = [answer.request.kind for answer in inbox.answers() if not answer.refused]
    assert inbox.answers()
    trials = {trial.name: trial for configuration in found for trial in configuration.trials.values()}
    assert len(trials) >= 12
    assert all(trial.ended for trial in trials.values())
    assert {name for name, trial in trials.items() if trial.state == "finished"} <= {
        name for name, member in cluster.members.items() if member.updates == 8
    }
    assert all(count <= 1 + done.count("repeat") for count in cluster.ended.values())
    final = cluster.journal.campaign()
    assert final.revision == (0 if scheduler == "pbt" else done.count("change"))
    for configuration in found:
        low = final.at(configuration.revision).space["loss.info_categorical"].extremes[0]
        assert configuration.descents or configuration.params["loss.info_categorical"] >= low


@pytest.mark.parametrize("scheduler", ["hyperband", "pbt"])
def test_faults_change_nothing_of_what_is_found(scheduler: str, tmp_path: Path) -> None:
    """Of schedulers whose decisions do not depend on the order of reports, with a searcher that learns from none."""
    results = []
    for seed, faults in ((0, {}), (1, {"node_loss": 0.2, "kill": 0.1, "drop": 0.1}), (2, {"kill": 0.3})):
        _, found = simulated(planned(scheduler), tmp_path / str(seed), seed, **faults)
        results.append([(c.params, c.descents, [(t.state, t.rungs) for t in c.trials.values()]) for c in found])
    assert results[0] == results[1] == results[2]


def test_a_campaign_of_seeds_alone_trains_one_configuration(tmp_path: Path) -> None:
    campaign = parsed(space={}, searcher={"kind": "grid"}, seeds={"count": 3}, budget={}).model_copy(
        update={"storage": str(tmp_path)}
    )
    cluster = Cluster(
        campaign,
        Journal.claim(campaign, "simulation"),
        places=2,
        score=lambda params, seed, updates: {"info/share": 0.1 * seed},
        source=random.Random(0),
    )
    (found,) = cluster.run()
    assert found.params == {}
    assert [trial.state for trial in found.trials.values()] == ["finished"] * 3
    assert found.score(campaign.objectives[0]) == pytest.approx(0.1)


@pytest.mark.parametrize("scheduler", ["promotion", "hyperband", "asha", "median"])
def test_seeds_and_halving_go_together(scheduler: str, tmp_path: Path) -> None:
    campaign = planned(scheduler, trials=14, seeds=2)
    _, found = simulated(campaign, tmp_path, 0, kill=0.05)
    assert all(trial.ended for configuration in found for trial in configuration.trials.values())
    best = ranked(found, campaign)[0]
    assert len(best.trials) == 2
    assert {trial.state for trial in best.trials.values()} == {"finished"}


def test_a_population_ends_better_than_it_would_without_exchange(tmp_path: Path) -> None:
    """The scores are a known function of values that exchange can improve."""
    medians = []
    for scheduler in ("none", "pbt"):
        _, found = simulated(planned(scheduler), tmp_path / scheduler, 0)
        scores = sorted(configuration.trials[0].scores["info/share"] for configuration in found)
        medians.append(scores[len(scores) // 2])
    assert medians[1] > medians[0]


def test_storage_is_read_as_it_was_written(tmp_path: Path) -> None:
    cluster, found = simulated(planned("pbt"), tmp_path, 0)
    assert isinstance(cluster.journal.store, FolderStore)
    assert cluster.journal.damaged == []
    assert METRIC not in found[0].trials[0].scores
    assert cluster.journal.status()["status"] == "finished"
