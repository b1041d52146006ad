"""Checkpoints are of finite states, and a run goes back to one of them under its name, with other rates, keeping what was."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.test_loop import config_for, run
from tests.unmeasured import without_measures
from unbraid.cluster.cli import main
from unbraid.datasets.store import FolderStore
from unbraid.trainers.errors import CheckpointError, DivergenceError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.checkpoint_writer import CheckpointWriter
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.going_back import lost_updates
from unbraid.trainers.runs.open import claim_run
from unbraid.trainers.runs.record import read_config, read_metrics, read_run, write_run


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """What models score is no matter here, and takes seconds for each run."""
    with without_measures():
        yield


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "run", create=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["networks", "optimizers"])
def test_a_state_that_is_not_finite_is_no_checkpoint_and_the_last_good_ones_stay(
    value: float, where: str, store: FolderStore
) -> None:
    good = {"networks": {"d": {"w": torch.ones(3)}}, "optimizers": {"d": {"state": {0: {"m": torch.ones(3)}}}}}
    bad = torch.tensor([1.0, value, 1.0])
    changed = {"networks": {"d": {"w": bad}}} if where == "networks" else {"optimizers": {"d": {"state": {0: {"m": bad}}}}}
    with (
        pytest.raises(DivergenceError, match=rf"^{where}\.d is not finite$"),
        CheckpointWriter(Checkpoints(store, keep=2)) as writer,
    ):
        writer.save(1, good)
        writer.save(2, good)
        writer.save(3, good | changed)
    assert Checkpoints(store, 2).steps() == [1, 2]


def test_whole_numbers_and_numbers_of_the_state_are_no_concern(store: FolderStore) -> None:
    with CheckpointWriter(Checkpoints(store, keep=2)) as writer:
        writer.save(1, {"x": torch.tensor(3), "updates": 1, "position": {"epoch": 0}, "y": torch.zeros(0)})
    assert Checkpoints(store, 2).steps() == [1]


def test_a_divergence_between_two_lines_of_metrics_is_met_at_the_checkpoint(digits_url: str, tmp_path: Path) -> None:
    config = config_for(
        digits_url, tmp_path, "optim.lr_discriminator=1e30", "run.updates=30", "run.log_every=30", "run.checkpoint_every=1"
    )
    with pytest.raises(
        DivergenceError,
        match=r"^diverged: .*(is|are) not finite, certain at update \d+;.*--from (step-\d+|0), and optim\.lr_generator=",
    ):
        run(config)
    state = Checkpoints(FolderStore(tmp_path / "run"), 2).load()
    assert state is None or all(t.isfinite().all() for n in state["networks"].values() for t in n.values())


def train(url: str, storage: Path, *words: str) -> Result:
    base = [*TINY, f"run.storage={storage}", f"data.url={url}", "run.updates=6", "run.checkpoint_every=2", "run.log_every=1"]
    fixed = ["run.name=mine", "run.preview_every=0", "run.keep_checkpoints=5"]
    return CliRunner().invoke(main, ["train", "infogan-mnist", *base, *fixed, "--debug", *words])


def test_a_run_goes_back_with_other_rates_under_its_name(digits_url: str, tmp_path: Path) -> None:
    assert train(digits_url, tmp_path).exit_code == 0
    store = FolderStore(tmp_path / "mine")
    before, metrics = Checkpoints(store, 5).load(2), store.get("metrics.jsonl")
    refused = train(digits_url, tmp_path, "optim.lr_generator=1e-4")
    assert "has another configuration" in refused.stderr
    refused = train(digits_url, tmp_path, "codes.noise=9", "--from", "step-2")
    assert refused.exit_code == 1
    assert "codes.noise" in refused.stderr
    assert store.get("metrics.jsonl") == metrics, "a refused command changes nothing"
    done = train(digits_url, tmp_path, "optim.lr_generator=1e-4", "--from", "step-2")
    assert done.exit_code == 0, done.output
    assert "run mine goes back from update 6 to the checkpoint of step 2; optim.lr_generator: 0.001 → 0.0001" in done.stdout
    assert "resumed: from update 2, checkpoint of " in done.stderr
    assert read_config(store).optim.lr_generator == 1e-4  # type: ignore[attr-defined]
    lines = [line["step"] for line in read_metrics(store) if "loss/d" in line]
    assert lines == [1, 2, 3, 4, 5, 6]
    now, kept = Checkpoints(store, 5).load(2), Checkpoints(store, 5).load(6)
    assert before is not None
    assert now is not None
    assert kept is not None
    assert all(torch.equal(before["networks"]["generator"][k], t) for k, t in now["networks"]["generator"].items())
    assert kept["optimizers"]["generator"]["param_groups"][0]["lr"] <= 1e-4, "the new rate, not that of the checkpoint"
    aside = {
        key.partition(
            "-",
        )[2].partition("-")[2]: store.get(key)
        for key in store.keys("set-aside/")
    }
    assert [content for name, content in aside.items() if name.endswith("metrics.jsonl")] == [metrics]
    assert sorted(name for name in aside if name.endswith("state.pt")) == ["step-00000004/state.pt", "step-00000006/state.pt"]
    (event,) = [event.message for event in read_events(store) if event.kind == "went_back"]
    assert event.startswith(
        "from update 6 to the checkpoint of step 2; optim.lr_generator: 0.001 → 0.0001; step 6 is set aside"
    )
    again = train(digits_url, tmp_path, "optim.lr_generator=1e-4", "--from", "step-2")
    assert again.exit_code == 0, again.output
    assert "has gone back to update 2 before" in again.stdout
    assert Checkpoints(store, 5).load(6)["updates"] == 6  # type: ignore[index]
    shown = CliRunner().invoke(main, ["runs", "show", "mine", "--storage", str(tmp_path)])
    assert "checkpoints: step-2 step-4 step-6 (good)" in shown.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "last"], "--from last: expected step-N, a checkpoint that"),
        (["--from", "step-3"], "no checkpoint of step 3; there are [2, 4, 6]"),
        (["--from", "step-4"], "the other checkpoints are of the steps [2, 6]"),
        (["--from", "2", "run.name=other"], "--from: there is no run"),
    ],
)
def test_where_a_run_cannot_go_back_to_is_said_and_changes_nothing(
    words: list[str], message: str, store: FolderStore, tmp_path: Path, digits_url: str
) -> None:
    config = config_for(digits_url, tmp_path, "run.name=mine")
    mine = claim_run(config, "test", {})
    for step in (2, 4, 6):
        Checkpoints(mine, 5).write(step, {"networks": {}})
    mine.put("checkpoints/step-00000004/state.pt", b"")
    keys = mine.keys()
    before = {key: mine.get(key) for key in keys}
    overrides = ["run.updates=9", "run.checkpoint_every=4", "run.preview_every=5"]
    refused = train(digits_url, tmp_path, *overrides, *words)
    assert refused.exit_code == 1
    assert message in refused.stderr
    assert mine.keys() == keys
    assert {key: mine.get(key) for key in keys} == before


def test_a_run_that_has_lost_its_checkpoints_does_not_begin_again_unasked(digits_url: str, tmp_path: Path) -> None:
    run(config_for(digits_url, tmp_path, "run.updates=4"))
    store = FolderStore(tmp_path / "run")
    for key in store.keys("checkpoints/"):
        store.delete(key)
    metrics = store.get("metrics.jsonl")
    with pytest.raises(CheckpointError, match="had come to update 4, and none of its checkpoints is there any more"):
        run(config_for(digits_url, tmp_path, "run.updates=6"))
    assert store.get("metrics.jsonl") == metrics
    words = [*TINY, "run.name=run", f"run.storage={tmp_path}", f"data.url={digits_url}", "run.updates=6", "run.log_every=1"]
    words += ["run.checkpoint_every=4", "run.preview_every=5", "--debug"]
    refused = CliRunner().invoke(main, ["train", "infogan-mnist", *words])
    assert "let it begin again with --from 0" in refused.stderr
    assert read_run(store)["status"] in ("finished", "running")
    done = CliRunner().invoke(main, ["train", "infogan-mnist", *words, "--from", "0"])
    assert done.exit_code == 0, done.output
    assert [line["step"] for line in read_metrics(store) if "loss/d" in line] == [1, 2, 3, 4, 5, 6]
    (kept,) = [key for key in store.keys("set-aside/") if key.endswith("metrics.jsonl")]
    assert store.get(kept) == metrics


@pytest.mark.parametrize(
    ("seconds", "record", "checkpoint", "lost"),
    [
        (0.0, {"status": "running"}, False, 0),  # killed before its first checkpoint was complete
        (0.5, {"status": "running"}, False, 9),
        (0.5, {"status": "running"}, True, 0),
        (0.0, {"status": "finished", "step": 12}, False, 12),
    ],
)
def test_what_is_lost_is_what_a_checkpoint_had_held(
    seconds: float, record: dict[str, object], checkpoint: bool, lost: int, store: FolderStore
) -> None:
    store.put("metrics.jsonl", json.dumps({"step": 9, "checkpoint/seconds": seconds}).encode())
    write_run(store, record)
    if checkpoint:
        Checkpoints(store, 1).write(8, {"networks": {}})
    assert lost_updates(store) == lost
