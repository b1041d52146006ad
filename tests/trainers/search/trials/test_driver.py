"""Campaigns on a real Ray, with real trials of a second each, which are interrupted, lost, broken or stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.trainers.search.campaigns import METRIC, campaign, content
from tests.trainers.search.trials.launching import run, trial_processes, trials_of
from unbraid.cluster.local.services import LocalServices
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.launch.here import train_here
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.lineage import read_lineage
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.report.export import export_preset
from unbraid.trainers.search.report.page import write_report

NOT_FINITE = {"optim.lr_generator": {"choice": [1e-3, 1e30]}, "loss.info_categorical": {"choice": [1.0, 0.5]}}


@pytest.fixture(scope="module")
def finished(address: str, digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Journal, Campaign]:
    """Four trials to the end in one process, the best of which keeps its checkpoints."""
    planned = campaign(str(digits_folder), tmp_path_factory.mktemp("campaigns"), keep=1, concurrency=1)
    journal, plan, stop = run(planned, address)
    assert not stop.any
    assert [trial.state for trial in plan.trials()] == ["finished"] * 4
    return journal, planned


def test_a_finished_campaign_is_ranked_from_its_storage(finished: tuple[Journal, Campaign]) -> None:
    journal, planned = finished
    assert journal.status()["status"] == "finished"
    order = ranked(journal.read(), planned)
    scores = [c.score(planned.objectives[0]) for c in order]
    assert len(scores) == 4
    assert scores == sorted((s for s in scores if s is not None), reverse=True)
    for trial in trials_of(order).values():
        record = read_run(journal.trial_store(trial.name))
        assert record["evaluation"][METRIC] == trial.scores[METRIC]


def test_only_the_best_keeps_checkpoints_and_every_trial_its_report_and_newest_picture(
    finished: tuple[Journal, Campaign],
) -> None:
    journal, planned = finished
    best, *others = ranked(journal.read(), planned)
    assert Checkpoints(journal.trial_store(best.trials[0].name), 1).steps()
    for other in others:
        keys = journal.trial_store(other.trials[0].name).keys()
        newest, report = sorted(key for key in keys if key.endswith(".png"))
        assert report == "report.png"
        assert newest.startswith("preview/")
        assert newest.endswith("/00000008.png")
        assert not [key for key in keys if key.startswith(("checkpoints/", "tensorboard/"))]
        assert {"metrics.jsonl", "config.yaml", "run.json", "trial.json"} <= set(keys)


def test_an_exported_preset_trains_to_the_same_weights_in_another_process(
    finished: tuple[Journal, Campaign], tmp_path: Path
) -> None:
    """The trial ran in a process that other trials had used before: nothing of them can have been left in it."""
    journal, planned = finished
    name, text = export_preset(journal, planned)
    file = tmp_path / "best.yaml"
    file.write_text(text)
    config = resolve(None, ["run.name=again", f"run.storage={tmp_path}", "run.workers=1"], file)
    store = preflight(config, "test")
    before = torch.get_num_threads()
    train_here(config, lambda line: None)
    torch.set_num_threads(before)
    again, there = Checkpoints(store, 1).load(), Checkpoints(journal.trial_store(name), 1).load()
    assert again is not None and there is not None
    for network, weights in there["networks"].items():
        assert all(torch.equal(value, again["networks"][network][key]) for key, value in weights.items())
    assert read_run(store)["evaluation"][METRIC] == read_run(journal.trial_store(name))["evaluation"][METRIC]


def test_a_finished_campaign_runs_nothing_again(finished: tuple[Journal, Campaign], address: str) -> None:
    journal, planned = finished
    before = {name: read_run(journal.trial_store(name))["ended"] for name in trials_of(journal.read())}
    _, plan, _ = run(planned, address)
    assert plan.over
    assert {name: read_run(journal.trial_store(name))["ended"] for name in before} == before


def test_the_report_is_one_page_with_plots_and_the_best_pictures(finished: tuple[Journal, Campaign]) -> None:
    journal, planned = finished
    write_report(journal, planned)
    page = journal.store.get("report.html").decode()
    assert "no labels were used to select" in page
    for title in ("Optimisation history", f"Importance for {METRIC} (fANOVA)", "Parallel coordinates", "Slices", "Trial 000"):
        assert title in page
    assert page.count("data:image/png;base64,") >= 7
    assert page.count("data:image/jpeg;base64,") == 4  # one of each configuration
    assert journal.store.get("report.png").startswith(b"\x89PNG")
    assert [key for key in journal.store.keys("tensorboard/") if "0000-s0" in key]


@pytest.mark.slow
def test_a_trial_that_diverges_ends_with_its_cause_and_nothing_else_does(
    address: str, digits_folder: Path, tmp_path: Path
) -> None:
    grid: dict[str, Any] = {"space": NOT_FINITE, "searcher": {"kind": "grid"}, "budget": {}}
    journal, plan, _ = run(campaign(str(digits_folder), tmp_path, **grid), address)
    states = {c.params["optim.lr_generator"]: {t.state for t in c.trials.values()} for c in plan.configurations}
    assert states == {1e-3: {"finished"}, 1e30: {"failed"}}
    causes = [trial.cause for trial in trials_of(journal.read()).values() if trial.state == "failed"]
    assert all(cause.startswith("diverged: ") and "not finite" in cause for cause in causes)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_collapse_ends_a_trial_with_its_cause(address: str, digits_url: str, tmp_path: Path, workers: int) -> None:
    """Nothing collapses within a few updates, so the threshold is put where every run lies."""
    planned = campaign(
        digits_url,
        tmp_path,
        fixed={"run.updates": 400, "divergence.collapse_updates": 2, "divergence.deviation": 0.999},
        resources={"workers": workers, "cpus": 1},
        budget={"trials": 1},
    )
    journal, plan, stop = run(planned, address)
    (trial,) = plan.trials()
    assert not stop.any
    assert trial.state == "failed"
    assert trial.cause.startswith("collapsed: generated samples are all the same")
    assert read_run(journal.trial_store(trial.name))["status"] == "failed"


def test_paused_trials_go_on_from_their_checkpoints_when_the_best_are_known(
    address: str, digits_folder: Path, tmp_path: Path
) -> None:
    halving = {"kind": "hyperband", "grace": 3, "reduction": 2}
    journal, plan, stop = run(campaign(str(digits_folder), tmp_path, scheduler=halving, budget={"trials": 2}), address)
    assert not stop.any
    (ended, finished) = sorted(plan.trials(), key=lambda trial: trial.updates)
    assert (ended.state, ended.updates) == ("stopped", 4)
    assert (finished.state, finished.updates) == ("finished", 8)
    assert finished.rungs[0][1][METRIC] > ended.rungs[0][1][METRIC]
    lines = [line["step"] for line in read_metrics(journal.trial_store(finished.name)) if "loss/d" in line]
    assert lines == list(range(1, 9))
    assert read_run(journal.trial_store(finished.name))["starts"] == 2


@pytest.mark.slow
def test_models_of_several_seeds_are_compared_without_labels(address: str, digits_folder: Path, tmp_path: Path) -> None:
    central: dict[str, Any] = {
        "objectives": [{"metric": "selection/centrality"}], "seeds": {"count": 2}, "labels": "none", "keep": 1,
    }  # fmt: skip
    journal, plan, _ = run(campaign(str(digits_folder), tmp_path, **central), address)
    for configuration in journal.read():
        assert configuration.centrality is not None
        assert len(configuration.centrality) == 2
        assert 0 <= configuration.centrality[0] <= 1
        assert configuration.centrality[0] == pytest.approx(configuration.centrality[1])  # of two, both ways
    assert not any("code/" in name for trial in plan.trials() for name in trial.scores)
    kept = [t.name for t in plan.trials() if Checkpoints(journal.trial_store(t.name), 1).steps()]
    assert len(kept) == 1


@pytest.mark.slow
def test_a_population_exchanges_weights_and_values(address: str, digits_folder: Path, tmp_path: Path) -> None:
    population: dict[str, Any] = {"scheduler": {"kind": "pbt", "every": 6}, "fixed": {"run.updates": 18}}
    journal, plan, stop = run(campaign(str(digits_folder), tmp_path, **population), address)
    assert not stop.any
    assert [trial.state for trial in plan.trials()] == ["finished"] * 4
    taken = {trial.name: read_lineage(journal.trial_store(trial.name)) for trial in plan.trials()}
    assert any(taken.values())
    for name, lineage in taken.items():
        for entry in lineage:
            assert entry.donor != name
            weight = entry.params["loss.info_categorical"]
            assert isinstance(weight, float)
            assert 0.1 <= weight <= 10.0
        if lineage:
            config = yaml.safe_load(journal.trial_store(name).get("config.yaml"))
            assert config["loss"]["info_categorical"] == lineage[-1].params["loss.info_categorical"]
            assert plan.configurations[int(name[:4])].params == lineage[-1].params
    assert [c.params for c in journal.read()] == [c.params for c in plan.configurations]


@pytest.mark.slow
def test_trials_on_a_node_share_its_cache_of_shards(address: str, digits_url: str, tmp_path: Path) -> None:
    cached = {"data.cache": str(tmp_path / "cache")}
    journal, plan, _ = run(campaign(digits_url, tmp_path, fixed=cached, budget={"trials": 2}, concurrency=1), address)
    hits = []
    for trial in plan.trials():
        lines = [line for line in read_metrics(journal.trial_store(trial.name)) if "data/cache_hit_percent" in line]
        hits.append(lines[-1]["data/cache_hit_percent"])
    assert hits[0] < 50
    assert hits[1] == 100


@pytest.mark.slow
def test_a_trial_of_two_workers_runs_through_ray_train_and_all_of_it_lies_on_s3(
    address: str, digits_url: str, bucket_url: str
) -> None:
    planned = campaign(digits_url, bucket_url, resources={"workers": 2, "cpus": 1}, budget={"trials": 1})
    journal, plan, _ = run(planned, address)
    (trial,) = plan.trials()
    assert (trial.state, trial.updates) == ("finished", 8), trial.cause
    assert read_run(journal.trial_store(trial.name))["status"] == "finished"
    again = Journal.open(bucket_url, "tiny")
    assert again.read()[0].trials[0].scores == trial.scores
    assert again.campaign().storage == bucket_url
    write_report(again, planned)
    assert {"report.html", "report.png", "campaign.yaml"} <= set(again.store.keys())


@pytest.mark.slow
def test_trouble_that_all_trials_share_stops_the_campaign_and_repaired_it_goes_on(
    address: str, digits_folder: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        planned = campaign(str(digits_folder), disk, fixed={"run.updates": 16})
        filler = disk / "filler"
        filler.write_bytes(bytes(1_500_000))
        journal, plan, stop = run(planned, address)
        assert "No space left" in stop.shared_trouble or "MiB free" in stop.shared_trouble
        assert journal.status()["status"] in ("failed", "running")  # the disk may be too full to write that it failed
        assert not [trial for trial in plan.trials() if trial.state == "failed"]
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        journal, plan, stop = run(planned, address)
        assert not stop.any
        assert [trial.state for trial in plan.trials()] == ["finished"] * 4
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_driver_killed_or_interrupted_loses_no_trial_and_repeats_none(
    services: LocalServices, address: str, digits_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.yaml"
    fixed = {"data.url": str(digits_folder), "run.updates": 30, "run.checkpoint_every": 5}
    written = content(storage=str(tmp_path / "killed"), fixed=fixed)
    file.write_text(json.dumps(written))
    undisturbed, _, _ = run(campaign(str(digits_folder), tmp_path / "whole", fixed=fixed), address)
    ended: dict[str, float] = {}
    for sent in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = start_until_progress(file, tmp_path / "killed")
        os.killpg(process.pid, sent)
        output = process.communicate(timeout=60)[0]
        if sent == signal.SIGINT:
            assert process.returncode == 130, output
            assert "interrupted: the same command goes on" in output
        wait_until(lambda: not trial_processes())  # Ray ends those of a driver that is gone
        found = trials_of(Journal.open(str(tmp_path / "killed"), "tiny").read())
        assert not all(trial.ended for trial in found.values())
        for name, trial in found.items():
            if trial.ended:
                when = read_run(open_run(str(tmp_path / "killed/tiny/trials"), name))["ended"]
                assert ended.setdefault(name, when) == when
    process = start(file)
    output = process.communicate(timeout=200)[0]
    assert process.returncode == 0, output
    journal = Journal.open(str(tmp_path / "killed"), "tiny")
    whole, cut = trials_of(undisturbed.read()), trials_of(journal.read())
    assert whole.keys() == cut.keys()
    assert {name: trial.scores for name, trial in whole.items()} == {name: trial.scores for name, trial in cut.items()}
    for name in cut:
        assert [line["step"] for line in read_metrics(journal.trial_store(name)) if "loss/d" in line] == list(range(1, 31))


def start(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "unbraid.cluster.cli", "tune", str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def start_until_progress(file: Path, storage: Path) -> subprocess.Popen[str]:
    """Start a driver, and wait until the campaign has got further in its storage."""
    before = updates_in_storage(storage)
    process = start(file)
    try:
        wait_until(lambda: updates_in_storage(storage) > before)
    except AssertionError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process


def updates_in_storage(storage: Path) -> int:
    """Updates that the campaign's next launch would not have to repeat."""
    if not (storage / "tiny/campaign.yaml").exists():
        return 0
    journal = Journal.open(str(storage), "tiny")
    updates = 0
    for trial in trials_of(journal.read()).values():
        updates += trial.updates if trial.ended else max(Checkpoints(journal.trial_store(trial.name), 1).steps(), default=0)
    return updates


def wait_until(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened within {seconds:g} s"
        time.sleep(0.1)
