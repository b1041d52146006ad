"""Exported presets hold what decides what is learnt, and the trial's resources."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.search.campaigns import campaign
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.report.export import export_preset

PARAMS = {"loss.info_categorical": 0.5, "optim.lr_generator": 1e-3}


def exported(data: Path, storage: Path, **change: Any) -> dict[str, Any]:
    """The preset of a campaign's only trial, which was not really trained."""
    planned = campaign(str(data), storage, **change)
    journal = Journal.claim(planned, "test")
    journal.write_configuration(Configuration(0, PARAMS))
    trial = Trial(0, 0, "finished", updates=8, rungs=[(8, {planned.metrics[0]: 0.5})])
    journal.write_trial(trial)
    config = planned.trial_config(PARAMS, 0, trial.name)
    journal.trial_store(trial.name).put("config.yaml", yaml.safe_dump(config.model_dump(mode="json")).encode())
    name, text = export_preset(journal, planned)
    assert name == "0000-s0"
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def test_an_export_holds_values_seed_budget_and_resources_and_no_other_execution(digits_folder: Path, tmp_path: Path) -> None:
    preset = exported(digits_folder, tmp_path, seed=3, resources={"cpus": 2}, fixed={"data.cache": str(tmp_path)})
    assert preset["extends"] == "infogan-mnist-reference"
    assert preset["loss"] == {"info_categorical": 0.5}
    assert preset["run"] == {"updates": 8, "seed": 3, "precision": "float32", "cpus": 2}
    assert preset["data"] == {"url": str(digits_folder), "batch": 16}, "and its run is reported on the test split"


@pytest.mark.usefixtures("new_keys")
def test_a_new_key_is_exported_only_if_it_is_learnt(digits_folder: Path, tmp_path: Path) -> None:
    run = exported(digits_folder, tmp_path, fixed={"run.new_execution": 5, "run.new_learnt": 6})["run"]
    assert run["new_learnt"] == 6
    assert "new_execution" not in run


def test_an_export_needs_a_configuration_with_a_score(digits_folder: Path, tmp_path: Path) -> None:
    planned = campaign(str(digits_folder), tmp_path)
    journal = Journal.claim(planned, "test")
    journal.write_configuration(Configuration(0, PARAMS))
    with pytest.raises(ConfigError, match="no trial has a score yet"):
        export_preset(journal, planned)
    with pytest.raises(ConfigError, match="has 1 configurations, from 0"):
        export_preset(journal, planned, 1)
