"""Campaigns on a real Ray that lose processes, or whose trials Ray Tune drops."""

import time
from pathlib import Path

import pytest
import ray

from tests.trainers.search.campaigns import campaign
from tests.trainers.search.trials.launching import trial_processes
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials import driver
from unbraid.trainers.search.trials.driver import run_campaign


@pytest.mark.slow
def test_a_crash_loses_only_its_own_trial_which_continues_from_its_checkpoint(
    address: str, digits_folder: Path, tmp_path: Path
) -> None:
    """The second trial's process is killed at its first evaluation, before which a checkpoint is written."""
    planned = campaign(
        str(digits_folder),
        tmp_path,
        scheduler={"kind": "median", "every": 10, "grace": 1000},  # which evaluates and stops nothing
        fixed={"run.updates": 30},
        budget={"trials": 2},
        concurrency=1,
    )
    journal = Journal.claim(planned, "test")
    killed: list[float] = []

    def kill_second(plan: Plan) -> None:
        if not killed and any(trial.rungs for trial in plan.trials() if trial.name == "0001-s0"):
            (process,) = trial_processes()
            killed.append(time.time())
            process.kill()

    plan, _ = run_campaign(journal, planned, address, kill_second)
    assert [(trial.state, trial.updates) for trial in plan.trials()] == [("finished", 30)] * 2
    assert read_run(journal.trial_store("0000-s0"))["ended"] < killed[0]
    lines = [line for line in read_metrics(journal.trial_store("0001-s0")) if "loss/d" in line]
    assert [line["step"] for line in lines] == list(range(1, 31))
    # one that had started over would have written these again; of the two newest checkpoints one may have been cut off
    assert lines[5]["time"] < killed[0] < lines[-1]["time"]


@pytest.mark.slow
def test_processes_that_are_refused_or_die_between_trials_cost_no_trial(
    address: str, digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune refuses to reuse a process whose last trial has not ended within a time, here none, and drops the next trial."""
    refusing = {"env_vars": {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "0"}}
    monkeypatch.setattr(driver, "_runtime_env", lambda: refusing)
    ray.shutdown()  # the session's own processes have been started without it
    planned = campaign(str(digits_folder), tmp_path, budget={"trials": 3}, concurrency=1)
    journal = Journal.claim(planned, "test")
    killed: list[str] = []

    def kill_after_last_report(plan: Plan) -> None:
        for trial in plan.trials():
            if trial.updates == 8 and not trial.ended and not killed:
                killed.append(trial.name)
                for process in trial_processes():
                    process.kill()

    try:
        plan, stop = run_campaign(journal, planned, address, kill_after_last_report)
    finally:
        ray.shutdown()
    assert killed == ["0000-s0"]
    assert not stop.any
    assert [(trial.state, trial.updates) for trial in plan.trials()] == [("finished", 8)] * 3, plan.trials()
