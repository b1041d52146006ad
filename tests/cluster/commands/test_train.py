"""All stages of DPIG by one command, stopped and repeated, as a user would."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.trainers.launch.test_launch import wait_for
from tests.trainers.systems.people import TINY, overrides
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.trainers.loop import Training
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run, run_status

STAGES = ("appearance", "pose", "mapping")


def train(url: str, storage: Path, *further: str) -> Result:
    arguments = [o for o in overrides("pose", url, storage) if not o.startswith(("networks.pose", "run.name"))]
    for stage in STAGES:
        own = [o for o in overrides(stage, url, storage) if o.startswith(("networks.", "loss."))]
        assert len(own) >= len(TINY[stage])
        arguments += [f"{stage}.{o}" for o in own]
    return CliRunner().invoke(
        main, ["train", "dpig-people-small", *arguments, "run.updates=4", "run.name=all", "--debug", *further]
    )


def test_one_command_trains_all_stages_and_goes_on_where_it_was(
    people_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    storage = tmp_path / "runs"
    finish = Training.finish
    ended: list[object] = []

    def interrupted(*arguments: Any) -> None:
        if ended:
            raise KeyboardInterrupt
        ended.append(arguments)
        finish(*arguments)

    monkeypatch.setattr(Training, "finish", interrupted)
    stopped = train(people_url, storage)
    assert stopped.exit_code == 130, stopped.output
    assert "stage 2 of 3: pose" in stopped.output
    assert run_status(open_run(str(storage), "all-appearance")) == "finished"
    assert not (storage / "all-mapping").exists()
    monkeypatch.setattr(Training, "finish", finish)
    done = train(people_url, storage)
    assert done.exit_code == 0, done.output
    assert "run all-appearance is finished" in done.output
    for stage in STAGES:
        assert read_run(open_run(str(storage), f"all-{stage}"))["step"] == 4
        assert (storage / f"all-{stage}" / "report.png").stat().st_size > 10_000
    again = train(people_url, storage)
    assert again.output.count("is finished") == 3


@pytest.mark.parametrize("already_measured", [False, True])
def test_ctrl_c_ends_a_pipeline_at_the_stage_that_trains(
    already_measured: bool, people_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when that stage had nothing left to save."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    finish = Training.finish

    def interrupted(training: Training) -> None:
        if already_measured:
            finish(training)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: training.monitor.stop_requested, "the request")
        if not already_measured:
            finish(training)

    monkeypatch.setattr(Training, "finish", interrupted)
    before = signal.getsignal(signal.SIGINT)
    stopped = train(people_url, tmp_path / "runs")
    assert stopped.exit_code == 130, stopped.output
    assert "stage 2" not in stopped.output
    status = run_status(open_run(str(tmp_path / "runs"), "all-appearance"))
    if already_measured:
        assert status == "finished"
        assert "report: " in stopped.output
    else:
        assert status == "stopped"
        assert "saved at update 4; the same command goes on from it" in stopped.output
    assert signal.getsignal(signal.SIGINT) == before


def test_a_dry_run_shows_every_stage(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["train", "dpig-people-small", "--dry-run", f"run.storage={tmp_path}"])
    assert shown.exit_code == 0
    assert shown.output.count("\n---\n") == 2
    assert shown.output.count("system: dpig.") == 3
