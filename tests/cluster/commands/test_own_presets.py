"""The user's own presets on a cluster that was started without UNBRAID_PRESETS: in a job, and in a campaign's trials."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.search.campaigns import FIXED, METRIC
from unbraid.cluster.local.services import LocalServices
from unbraid.trainers.config.presets import FOLDER_VARIABLE
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder outside of the tree, with the preset ``mine``: small networks, 8 updates."""
    content: dict[str, Any] = {"extends": "infogan-mnist-reference"}
    for key, value in (FIXED | {"run.cpus": 1}).items():
        section, _, name = key.partition(".")
        content.setdefault(section, {})[name] = value
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return folder


def unbraid(own: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: in this one, Ray would keep the settings of its first start."""
    return subprocess.run(
        [sys.executable, "-m", "unbraid.cluster.cli", *arguments], cwd=ROOT, env=os.environ | {FOLDER_VARIABLE: str(own)},
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip


def test_an_own_preset_goes_along_with_the_tree_of_a_job(services: LocalServices, own: Path, tmp_path: Path) -> None:
    """The job resolves the preset, then ends at its data, which this test leaves out to be quick."""
    done = unbraid(own, "submit", "train", "mine", f"data.url={tmp_path}/no-data", f"run.storage={tmp_path}/runs")
    assert done.returncode == 1
    assert f"{tmp_path}/no-data/index.json: no such file" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_the_trials_of_a_campaign_find_an_own_preset(
    services: LocalServices, digits_folder: Path, own: Path, tmp_path: Path
) -> None:
    campaign = {
        "name": "own", "preset": "mine", "storage": str(tmp_path / "campaigns"), "fixed": {"data.url": str(digits_folder)},
        "space": {"loss.info_categorical": {"choice": [0.5, 1.0]}}, "objectives": [{"metric": METRIC}], "budget": {"trials": 1},
    }  # fmt: skip
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps(campaign))
    done = unbraid(own, "tune", str(file))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (run,) = (tmp_path / "campaigns" / "own" / "trials").iterdir()
    assert read_run(open_run(str(run.parent), run.name))["status"] == "finished"
