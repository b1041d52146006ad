"""Campaigns: overhead of a trial, busy cores, memory, killed drivers, ASHA with TPE against random search, PBT, code sizes.

Needs MNIST packed on the local S3 server (`make demo`, or `unbraid data pack mnist`). Campaigns are kept
under runs/benchmarks/campaigns, and continue when the benchmark is run again.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from scipy.stats import binomtest

from benchmarks.figures import Figures
from tests.trainers.search.simulation import Cluster, bowl
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.store import FolderStore
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.reading import parse_campaign, read_campaign
from unbraid.trainers.search.campaign.requests import Inbox
from unbraid.trainers.search.trials.driver import run_campaign

STORAGE = Path("runs/benchmarks/campaigns")
CORES = 2
REPEATS = 5
POPULATIONS = 3
KILLS = 5
AGAIN = "UNBRAID_BENCH_CAMPAIGN"
"""Set in the environment of this program once that holds what reaches the local services."""
HISTORIES = 100
SMALL = {
    "run.log_every": 9,
    "run.preview_every": 0,
    "run.checkpoint_every": 81,
    "data.batch": 64,
    "networks.generator": {"hidden": 256, "start_channels": 32, "layers": [{"channels": 16}]},
    "networks.trunk": {"layers": [{"channels": 16, "norm": False}, {"channels": 32}], "hidden": 256},
}
SIMULATED_SPACE = {
    "loss.info_categorical": {"log_uniform": [0.1, 10.0]},
    "optim.lr_generator": {"log_uniform": [1e-4, 1e-2]},
}
SPACE = {
    "loss.info_categorical": {"log_uniform": [0.1, 3.0]},
    "loss.info_continuous": {"log_uniform": [0.03, 3.0]},
    "optim.lr_generator": {"log_uniform": [3e-4, 6e-3]},
    "optim.lr_discriminator": {"log_uniform": [1e-4, 2e-3]},
}


def planned(name: str, updates: int, trials: int, **more: Any) -> Campaign:
    """A small campaign on MNIST."""
    fixed = SMALL | {"run.updates": updates}
    if more.get("scheduler", {}).get("kind") == "pbt":
        del fixed["run.checkpoint_every"]  # which scheduler.every decides
    content = {
        "name": name,
        "preset": "infogan-mnist-small",
        "fixed": fixed,
        "space": SPACE,
        "objectives": [{"metric": "selection/covered_information"}],
        "budget": {"trials": trials},
        "storage": str(STORAGE),
    }
    return parse_campaign(json.dumps(content | more), name)


def run(campaign: Campaign, watch: Callable[[], None] = lambda: None) -> Journal:
    """Run a campaign to its end, or read it if it has finished before."""
    journal = Journal.claim(campaign, "bench campaign")
    if journal.status().get("status") != "finished":
        address = use_local_services()
        _, stop = run_campaign(journal, campaign, address, lambda plan: watch())
        if stop.any:
            raise SystemExit(f"campaign {campaign.name} stopped early: {stop}")
    return journal


def fresh(name: str) -> None:
    """Delete a campaign of an earlier run, so that its times are not measured."""
    shutil.rmtree(STORAGE / name, ignore_errors=True)


def trials_of(journal: Journal) -> list[Trial]:
    """All trials of a campaign."""
    return [trial for configuration in journal.read() for trial in configuration.trials.values()]


def measure_cores(figures: Figures) -> None:
    """Sixteen short trials on two cores: the share of the cores' time that is training, evaluation and pictures included."""
    fresh("cores")
    started = time.time()
    journal = run(planned("cores", 81, 16))
    whole = time.time() - started
    trials = trials_of(journal)
    records = [read_run(journal.trial_store(trial.name)) for trial in trials]
    training = sum(trial.seconds for trial in trials)
    # from the first trial's start on: before, Ray starts two processes and imports torch, once a campaign
    span = max(record["ended"] for record in records) - min(record["started"] for record in records)
    figures.figure("busy_percent", 100 * training / (CORES * span), "%", ">= 92", 1)
    figures.figure("busy_percent_with_start", 100 * training / (CORES * whole), "%", digits=1)
    figures.figure("training_seconds_a_trial", training / len(trials), "s")


def measure_reuse(figures: Figures) -> None:
    """Fifty trials in one process: seconds between trials, and memory after five trials and at the end."""
    fresh("reuse")
    sizes: list[float] = []

    def watch() -> None:
        done = sum((STORAGE / "reuse/trials" / path.name / "trial.json").exists() for path in _folders("reuse/trials"))
        held = [p.memory_info().rss / 1e6 for p in actors()]
        if held and done > len(sizes):
            sizes.append(max(held))

    journal = run(planned("reuse", 9, 50, concurrency=1), watch)
    trials = trials_of(journal)
    records = [read_run(journal.trial_store(trial.name)) for trial in trials]
    span = max(record["ended"] for record in records) - min(record["started"] for record in records)
    between = span - sum(trial.seconds for trial in trials)
    figures.figure("overhead_seconds_a_trial", between / (len(trials) - 1), "s", "<= 0.7")
    figures.figure("memory_growth_over_45_trials", sizes[-1] - sizes[5], "MB", "flat", 1)
    figures.figure("memory_after_50_trials", sizes[-1], "MB", digits=1)


def measure_search(figures: Figures) -> None:
    """ASHA with TPE: in how many repeats it needs at most 40 % of random search's updates for random search's best score."""
    shares, bests, found = [], [], []
    for seed in range(REPEATS):
        plain = run(planned(f"random-{seed}", 162, 16, seed=seed))
        smart: dict[str, Any] = {
            "searcher": {"kind": "tpe", "startup": 8},
            "scheduler": {"kind": "asha", "grace": 18},
            "budget": {"trials": 60, "updates": 16 * 162},
        }
        clever = run(planned(f"asha-tpe-{seed}", 162, 60, seed=100 + seed, **smart))
        best = max(trial.scores["selection/covered_information"] for trial in trials_of(plain))
        spent = sum(trial.updates for trial in trials_of(plain))
        used, reached = 0, None
        for trial in sorted(trials_of(clever), key=lambda trial: read_run(clever.trial_store(trial.name))["ended"]):
            used += trial.updates
            if reached is None and trial.scores.get("selection/covered_information", 0) >= best:
                reached = used
        shares.append((reached if reached is not None else 10 * spent) / spent)
        bests.append(best)
        found.append(max(trial.scores.get("selection/covered_information", 0) for trial in trials_of(clever)))
        figures.figure(f"random_best_{seed}", best, "covered information")
        figures.figure(f"asha_tpe_best_{seed}", found[-1], "covered information, same updates")
        figures.figure(f"share_of_updates_{seed}", 100 * shares[-1], "% (1000 is never)", digits=1)
    figures.figure("share_of_random_updates", 100 * statistics.median(shares), "%, the median", digits=1)
    within = sum(share <= 0.4 for share in shares)
    interval = binomtest(within, REPEATS).proportion_ci(0.95, "wilson")
    figures.figure("repeats_within_40_percent", within, f"of {REPEATS}", ">= 4", 0)
    unit = f"to {100 * interval.high:.0f} %: 95 % interval of the share of such repeats (Wilson)"
    figures.figure("repeats_within_interval", 100 * interval.low, unit, digits=0)


def measure_exchange(figures: Figures) -> None:
    """Population-based training against the same population without exchange, with the same updates."""
    gains = []
    for seed in range(POPULATIONS):
        scores = {}
        for kind, scheduler in (("alone", {"kind": "none"}), ("exchange", {"kind": "pbt", "every": 18})):
            campaign = planned(f"population-{kind}-{seed}", 162, 8, seed=200 + seed, scheduler=scheduler)
            trials = trials_of(run(campaign))
            scores[kind] = sorted(t.scores.get("selection/covered_information", 0.0) for t in trials)
        for kind, found in scores.items():
            figures.figure(f"population_{kind}_{seed}_best", found[-1], "covered information")
            figures.figure(f"population_{kind}_{seed}_median", statistics.median(found), "covered information")
        gains.append(statistics.median(scores["exchange"]) / statistics.median(scores["alone"]))
    wins = sum(gain > 1 for gain in gains)
    figures.figure("population_gain", statistics.median(gains), "x the median member without exchange", "> 1", 2)
    figures.figure("population_wins", wins, f"of {POPULATIONS}", digits=0)


def measure_kills(figures: Figures) -> None:
    """A driver killed five times at random moments: trials that ran twice, that were lost, and that differ."""
    campaign = planned("undisturbed", 81, 10)
    whole = {trial.name: trial for trial in trials_of(run(campaign))}
    fresh("killed")
    file = STORAGE / "killed.yaml"
    content = planned("killed", 81, 10).model_dump(mode="json")
    file.write_text(json.dumps(content))
    source, ended, twice = random.Random(7), dict[str, float](), 0
    for _ in range(KILLS):
        process = _start(file)
        time.sleep(source.uniform(8.0, 16.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while actors():
            time.sleep(0.2)
        twice += _ended_again(ended)
    if _start(file).wait() != 0:
        raise SystemExit("the killed campaign did not finish")
    twice += _ended_again(ended)
    journal = Journal.open(str(STORAGE), "killed")
    cut = {trial.name: trial for trial in trials_of(journal)}
    lines = {name: [line["step"] for line in read_metrics(journal.trial_store(name)) if "loss/d" in line] for name in cut}
    figures.figure("kills", KILLS, "kill -9 of the driver", digits=0)
    figures.figure("trials_lost", len(whole.keys() - cut.keys()), "trials", "0", 0)
    figures.figure("trials_run_twice", twice + sum(len(set(s)) != len(s) for s in lines.values()), "trials", "0", 0)
    figures.figure("trials_that_differ", sum(whole[name].scores != cut[name].scores for name in cut), "trials", "0", 0)


def measure_scale(figures: Figures) -> None:
    """Up to 10,000 trials on 1,000 places in virtual time, nodes lost and the driver killed: its time and its requests."""
    for trials in (1000, 10_000):
        fresh(f"scale-{trials}")
        campaign = planned(
            f"scale-{trials}", 162, trials, space=SIMULATED_SPACE,
            objectives=[{"metric": "info/share"}], scheduler={"kind": "asha", "grace": 18, "type": "promotion"},
        )  # fmt: skip
        with counted_requests() as requests:
            journal = Journal.claim(campaign, "bench campaign")
            cluster = Cluster(
                campaign,
                journal,
                places=trials // 10,
                score=bowl,
                source=random.Random(0),
                node_loss=0.05,
                kill=3e-5,
                drop=0.01,
            )
            before = psutil.Process().memory_info().rss
            found = [trial for configuration in cluster.run() for trial in configuration.trials.values()]
            held = psutil.Process().memory_info().rss - before
        lost = sum(not trial.ended for trial in found) + trials - len(found)
        figures.figure(f"scale_{trials}_launches", cluster.launches, "of the driver", digits=0)
        figures.figure(f"scale_{trials}_trials_lost", lost, "trials", "0", 0)
        figures.figure(f"scale_{trials}_run_twice", sum(count > 1 for count in cluster.ended.values()), "trials", "0", 0)
        per_decision = 1000 * statistics.fmean(cluster.decisions)
        figures.figure(f"scale_{trials}_a_decision", per_decision, "ms, storage on disk included", "<= 5")
        figures.figure(f"scale_{trials}_memory_a_trial", held / trials / 1e3, "kB")
        figures.figure(f"scale_{trials}_requests_a_trial", sum(requests.values()) / trials, "requests to the storage")


def measure_histories(figures: Figures) -> None:
    """A hundred random histories of lost nodes, killed drivers, dropped trials and persons' requests, over all schedulers."""
    schedulers: list[dict[str, Any]] = [
        {"kind": "none"}, {"kind": "asha", "grace": 18}, {"kind": "asha", "grace": 18, "type": "promotion"},
        {"kind": "hyperband", "grace": 18}, {"kind": "pbt", "every": 54},
    ]  # fmt: skip
    lost = twice = hung = 0
    for history in range(HISTORIES):
        fresh("history")
        campaign = planned(
            "history", 162, 20, space=SIMULATED_SPACE, objectives=[{"metric": "info/share"}],
            scheduler=schedulers[history % len(schedulers)],
        )  # fmt: skip
        journal, source = Journal.claim(campaign, "bench campaign"), random.Random(history)
        faults: dict[str, Any] = {"node_loss": 0.1, "kill": 0.05, "drop": 0.05, "asks": 0.2}
        cluster = Cluster(campaign, journal, places=4, score=bowl, source=source, **faults)
        try:
            found = [trial for configuration in cluster.run() for trial in configuration.trials.values()]
        except AssertionError:
            hung += 1
            continue
        lost += sum(not trial.ended for trial in found) + max(20 - len(found), 0)
        answers = [answer.request.kind for answer in Inbox(journal.store).answers() if not answer.refused]
        twice += max(sum(count - 1 for count in cluster.ended.values() if count > 1) - answers.count("repeat"), 0)
    figures.figure("histories", HISTORIES, "of 20 trials, faults and requests by seed", digits=0)
    figures.figure("histories_trials_lost", lost, "trials", "0", 0)
    figures.figure("histories_run_twice", twice, "trials", "0", 0)
    figures.figure("histories_that_hang", hung, "campaigns", "0", 0)


@contextmanager
def counted_requests() -> Iterator[Counter[str]]:
    """Count the calls of a folder's methods, each of which is a request where the storage is S3."""
    counts: Counter[str] = Counter()
    before = {
        name: getattr(FolderStore, name) for name in ("get", "put", "exists", "keys", "delete") if hasattr(FolderStore, name)
    }

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return method(*arguments, **options)

        return call

    for name, method in before.items():
        setattr(FolderStore, name, counting(name, method))
    try:
        yield counts
    finally:
        for name, method in before.items():
            setattr(FolderStore, name, method)


def read_codes(figures: Figures) -> None:
    """Code sizes selected without labels: the rank of the best configuration with one 10-way code, and the whole table."""
    campaign = read_campaign("infogan-mnist-codes-small", [f"storage={STORAGE}"])
    journal = run(campaign)
    order = ranked(journal.read(), campaign)
    place = next(i for i, c in enumerate(order, 1) if c.params["codes.categorical"] == [10])
    figures.figure("codes_place_of_one_ten_way_code", place, "of 10", "<= 3", 0)
    for configuration in order:
        score = configuration.score(campaign.objectives[0])
        trials = configuration.trials.values()
        accuracy = statistics.median(trial.scores["code/accuracy"] for trial in trials)
        covered = statistics.median(trial.scores["selection/covered_information"] for trial in trials)
        name = f"{configuration.params['codes.categorical']}_and_{configuration.params['codes.continuous']}".replace(" ", "")
        unit = f"centrality; accuracy {accuracy:.3f}, covered information {covered:.3f}"
        figures.figure(f"codes_{name}", score if score is not None else float("nan"), unit)


def actors() -> list[psutil.Process]:
    """Processes that train trials."""
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if any("ImplicitFunc" in part for part in p.info["cmdline"] or ())]


def _folders(under: str) -> list[Path]:
    folder = STORAGE / under
    return list(folder.iterdir()) if folder.exists() else []


def _start(file: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "unbraid.cluster.cli", "tune", str(file)]
    return subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)


def _ended_again(ended: dict[str, float]) -> int:
    """The number of trials that ended again since their end was noted in ``ended``; new ends are added to it."""
    again = 0
    journal = Journal.open(str(STORAGE), "killed")
    for trial in trials_of(journal):
        if trial.ended:
            when = read_run(journal.trial_store(trial.name))["ended"]
            again += ended.setdefault(trial.name, when) != when
    return again


def main() -> None:
    """All figures."""
    if AGAIN not in os.environ:  # Ray reads its token when it is imported, and the modules above import it
        use_local_services()
        again = [sys.executable, "-m", "benchmarks.campaign", *sys.argv[1:]]
        sys.exit(subprocess.run(again, env=os.environ | {AGAIN: "1"}, check=False).returncode)
    figures = Figures("campaign", "0 to 4, 100 to 104, 200 to 202")
    logging.getLogger("unbraid.trainers.search.trials").setLevel(logging.ERROR)  # simulated losses
    use_local_services()
    STORAGE.mkdir(parents=True, exist_ok=True)
    parts = {
        "cores": measure_cores, "reuse": measure_reuse, "kills": measure_kills, "search": measure_search,
        "exchange": measure_exchange,
        "codes": read_codes, "scale": measure_scale, "histories": measure_histories,
    }  # fmt: skip
    for name, part in parts.items():
        if figures.wants(name):
            part(figures)


if __name__ == "__main__":
    main()
