"""Damaged checkpoints: the newest whole one is taken, the damaged ones are set aside and named."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.test_loop import config_for, final_weights, run
from tests.unmeasured import without_measures
from unbraid.datasets.store import FolderStore, Store, open_store
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.evaluate import evaluate_run
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics

STATE, MANIFEST = "checkpoints/step-{:08d}/state.pt", "checkpoints/step-{:08d}/checkpoint.json"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """What models score is no matter here, and takes seconds for each run."""
    with without_measures():
        yield


def edit(store: Store, key: str, change: Callable[[bytes], bytes]) -> None:
    store.put(key, change(store.get(key)))


def forge(store: Store, of: int, **fields: object) -> None:
    edit(store, MANIFEST.format(of), lambda content: json.dumps(json.loads(content) | fields).encode())


DAMAGES: dict[str, Callable[[Store, int], None]] = {
    "state cut": lambda store, step: edit(store, STATE.format(step), lambda content: content[:-100]),
    "state empty": lambda store, step: store.put(STATE.format(step), b""),
    "state missing": lambda store, step: store.delete(STATE.format(step)),
    "state grown": lambda store, step: edit(store, STATE.format(step), lambda content: content + b"x"),
    "state zeroed": lambda store, step: edit(store, STATE.format(step), lambda content: bytes(len(content))),
    "manifest empty": lambda store, step: store.put(MANIFEST.format(step), b""),
    "manifest cut": lambda store, step: edit(store, MANIFEST.format(step), lambda content: content[:-9]),
    "manifest binary": lambda store, step: store.put(MANIFEST.format(step), b"\x80\x00\xff"),
    "manifest of something else": lambda store, step: store.put(MANIFEST.format(step), b'{"name": "mine"}'),
    "manifest of another step": lambda store, step: forge(store, step, step=3),
    "manifest of another state": lambda store, step: forge(store, step, sha256="0" * 64),
}


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path) if request.param == "folder" else str(request.getfixturevalue("bucket_url"))
    return open_store(f"{url}/run", create=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_whole_checkpoint_is_taken(damage: str, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(store, keep=3)
    for step in (5, 10, 15):
        checkpoints.write(step, {"x": torch.full((100,), float(step))})
    DAMAGES[damage](store, 15)
    DAMAGES[damage](store, 10)
    newest = checkpoints.newest()
    assert newest.step == 5
    assert newest.state is not None
    assert newest.state["x"][0] == 5
    assert [step for step, _ in newest.damaged] == [15, 10]
    assert all(f"step-000000{step}/" in problem for step, problem in newest.damaged)
    assert newest.lost_updates == 10
    with caplog.at_level(logging.WARNING):
        state = checkpoints.load()
    assert state is not None
    assert state["x"][0] == 5
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "the checkpoint of step 15 is damaged",
        "the checkpoint of step 10 is damaged",
    ]
    with pytest.raises(CheckpointError, match=r"step-00000010/.*; the other checkpoints are of the steps \[5, 15\]"):
        checkpoints.load(10)


@pytest.mark.parametrize("damage", ["state missing", "manifest empty", "state cut"])
def test_what_is_set_aside_is_neither_taken_nor_deleted(damage: str, store: Store) -> None:
    checkpoints = Checkpoints(store, keep=2)
    for step in (5, 10):
        checkpoints.write(step, {"x": torch.tensor(step)})
    DAMAGES[damage](store, 10)
    before = {key.rpartition("/")[2]: store.get(key) for key in store.keys("checkpoints/step-00000010/")}
    where = checkpoints.set_aside(10)
    assert checkpoints.steps() == [5]
    for step in (10, 15, 20):
        checkpoints.write(step, {"x": torch.tensor(step)})
    assert checkpoints.steps() == [15, 20]
    assert checkpoints.newest().damaged == ()
    folder = where.removeprefix(f"set aside in {store.url}/")
    assert {key.rpartition("/")[2]: store.get(key) for key in store.keys(f"{folder}/")} == before


@pytest.mark.parametrize("damage", ["state cut", "manifest cut"])
def test_without_a_whole_checkpoint_the_error_names_them_all_and_a_remedy(damage: str, store: Store) -> None:
    checkpoints = Checkpoints(store, keep=2)
    for step in (5, 10):
        checkpoints.write(step, {"x": torch.tensor(step)})
        DAMAGES[damage](store, step)
    before = store.keys()
    for ask in (checkpoints.newest, checkpoints.load):
        with pytest.raises(CheckpointError, match=r"none of its checkpoints is whole:\n  step 10: .*\n  step 5: .*\nput whole"):
            ask()
    assert store.keys() == before


def test_a_checkpoint_that_is_removed_while_it_is_read_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(store, keep=1)
    checkpoints.write(5, {"x": torch.tensor(5)})
    read = Checkpoints._read

    def meanwhile(self: Checkpoints, step: int) -> Any:
        if step == 5:
            self.write(10, {"x": torch.tensor(10)})
        return read(self, step)

    monkeypatch.setattr(Checkpoints, "_read", meanwhile)
    newest = checkpoints.newest()
    assert (newest.step, newest.damaged) == (10, ())


def test_a_run_goes_on_from_the_newest_whole_checkpoint(
    digits_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with the weights of a run that was never damaged, and says what happened."""
    run(config_for(digits_url, tmp_path / "whole", "optim.decay_from=1"))
    run(config_for(digits_url, tmp_path / "hurt", "optim.decay_from=1", "run.updates=8", "run.keep_checkpoints=2"))
    store = open_run(str(tmp_path / "hurt"), "run")
    assert Checkpoints(store, 2).steps() == [4, 8]
    DAMAGES["state cut"](store, 8)
    capsys.readouterr()
    assert evaluate_run(str(tmp_path / "hurt"), "run", None)["step"] == 4
    run(config_for(digits_url, tmp_path / "hurt", "optim.decay_from=1"))
    whole, hurt = final_weights(tmp_path / "whole"), final_weights(tmp_path / "hurt")
    assert all(torch.equal(whole[name], hurt[name]) for name in whole)
    events = {event.kind: event.message for event in read_events(store)}
    assert "checkpoint_damaged: that of step 8: " in capsys.readouterr().err
    assert "step-00000008/state.pt: has" in events["checkpoint_damaged"]
    assert f"set aside in {store.url}/set-aside/" in events["checkpoint_damaged"]
    assert events["resumed"].startswith("from update 4, checkpoint of 20")
    assert events["resumed"].endswith("; 4 updates after it were lost and are made again")
    lines = [line for line in read_metrics(store) if "loss/d" in line]
    assert [line["step"] for line in lines] == list(range(1, 10))
    assert [line["checkpoint/lost_updates"] for line in lines] == [0.0] * 4 + [4.0] * 5


def test_a_state_of_something_else_is_one_error(digits_url: str, tmp_path: Path) -> None:
    config = config_for(digits_url, tmp_path, "run.updates=2")
    run(config)
    store = FolderStore(tmp_path / "run")
    foreign: list[dict[str, Any]] = [{"model": torch.zeros(1)}, {"networks": 3}, {"networks": {}}]
    for state in foreign:
        Checkpoints(store, 1).write(3, state)
        with pytest.raises(CheckpointError, match=r"the checkpoint.*use the config\.yaml"):
            run(config_for(digits_url, tmp_path, "run.updates=4"))
        with pytest.raises(CheckpointError, match="the checkpoint"):
            evaluate_run(str(tmp_path), "run", None)
