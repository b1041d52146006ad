"""A member of a population exploits a donor, whose checkpoints may change meanwhile."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import JsonValue

from tests.trainers.search.campaigns import campaign
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_config, read_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Descent
from unbraid.trainers.search.campaign.lineage import read_lineage
from unbraid.trainers.search.trials import pbt
from unbraid.trainers.search.trials.pbt import exploit

VALUES: dict[str, JsonValue] = {"loss.info_categorical": 2.5, "optim.lr_generator": 2e-3}


@pytest.fixture
def population(digits_folder: Path, tmp_path: Path) -> Campaign:
    return campaign(str(digits_folder), tmp_path, scheduler={"kind": "pbt", "every": 4}, fixed={"run.updates": 24})


def save(planned: Campaign, name: str, *steps: int) -> Checkpoints:
    store = open_run(f"{planned.storage}/{planned.name}/trials", name, create=True)
    checkpoints = Checkpoints(store, keep=2)
    for step in steps:
        checkpoints.write(step, {"updates": step, "networks": {"of": torch.full((2,), float(step))}})
    return checkpoints


def exploited(planned: Campaign, donor: str, updates: int) -> dict[str, Any]:
    config = planned.trial_config(VALUES, 0, "0001-s0")
    exploit(config, Descent(updates, donor, VALUES))
    mine = open_run(config.run.storage, "0001-s0")
    state = Checkpoints(mine, 2).load()
    assert state is not None
    return state


def test_a_member_continues_from_the_donors_state_with_its_new_values(population: Campaign) -> None:
    save(population, "0000-s0", 4, 8)
    save(population, "0001-s0", 8, 12)  # its own, further but worse
    assert exploited(population, "0000-s0", 4)["updates"] == 4
    mine = open_run(f"{population.storage}/{population.name}/trials", "0001-s0")
    assert Checkpoints(mine, 2).steps() == [4]
    assert read_lineage(mine) == [Descent(4, "0000-s0", VALUES)]
    assert read_config(mine).loss.info_categorical == 2.5  # type: ignore[attr-defined]


def test_a_checkpoint_that_was_removed_meanwhile_is_replaced_by_the_donors_newest(population: Campaign) -> None:
    save(population, "0000-s0", 4, 8, 12)  # keeps two: 4 is gone
    save(population, "0001-s0", 4)
    assert exploited(population, "0000-s0", 4)["updates"] == 12


def test_a_copy_that_was_made_is_not_made_again(population: Campaign) -> None:
    """The same task starts again after its process was lost."""
    donor = save(population, "0000-s0", 8)
    mine = save(population, "0001-s0", 4)
    exploited(population, "0000-s0", 8)
    mine.write(12, {"updates": 12, "networks": {"of": torch.full((2,), 12.0)}})
    donor.drop_after(0)
    assert exploited(population, "0000-s0", 8)["updates"] == 12


def test_a_copy_that_was_cut_off_is_made_again(population: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    save(population, "0000-s0", 8)
    save(population, "0001-s0", 4, 12)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pbt, "append_lineage", killed)
        with pytest.raises(KeyboardInterrupt):
            exploited(population, "0000-s0", 8)
    assert exploited(population, "0000-s0", 8)["networks"]["of"].tolist() == [8.0, 8.0]


def test_a_member_is_judged_anew_from_the_copied_state_on(population: Campaign) -> None:
    save(population, "0000-s0", 8)
    save(population, "0001-s0", 4)
    exploited(population, "0000-s0", 8)
    assert read_run(open_run(f"{population.storage}/{population.name}/trials", "0001-s0"))["judged_from"] == 8


def test_a_donor_without_any_checkpoint_is_an_error_that_names_it(
    population: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pbt, "WAIT_SECONDS", 0.0)
    save(population, "0000-s0")
    with pytest.raises(CheckpointError, match="no checkpoint that can be read, though 0000-s0"):
        exploited(population, "0000-s0", 4)
