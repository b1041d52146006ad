"""Runs that go wrong: what is said, what is kept, how they go on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from tests.cluster.commands.test_refused import contents
from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.test_loop import PowerCut
from tests.unmeasured import without_measures
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.store import FolderStore
from unbraid.trainers.data import Batch
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.system import InfoGAN

UPDATES, BROKEN_FROM, GOOD = 30, 15, 14
SETTINGS = [
    *TINY, "run.name=mine", f"run.updates={UPDATES}", "run.log_every=1", "run.checkpoint_every=1", "run.keep_checkpoints=1",
    "run.preview_every=0", "divergence.window=9", "divergence.gradient_factor=20",
]  # fmt: skip
FIRST_RATE = 1e-3


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What models score is no matter here; no services of this machine."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    with without_measures():
        yield


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the first learning rate, from update 15 on, D's weights are blown up before each of its updates."""
    update = InfoGAN.update_discriminator

    def broken(system: InfoGAN, real: Tensor) -> Scalars:
        if system.updates >= BROKEN_FROM - 1 and rate_of(system) > 0.9 * FIRST_RATE:
            with torch.no_grad():
                for parameter in system.discriminator.network.parameters():
                    parameter.mul_(30)
        return update(system, real)

    monkeypatch.setattr(InfoGAN, "update_discriminator", broken)


def rate_of(system: InfoGAN) -> float:
    rate: float = system.discriminator.optimizer.param_groups[0]["lr"]
    return rate


def train(url: Path, storage: Path, *words: str) -> Result:
    places = [f"data.url={url}", f"run.storage={storage}", f"optim.lr_discriminator={FIRST_RATE}"]
    return CliRunner().invoke(main, ["train", "infogan-mnist", *SETTINGS, *places, "--debug", *words])


@pytest.mark.usefixtures("breaks")
def test_a_run_that_diverges_ends_says_why_and_keeps_what_was_good(digits_folder: Path, tmp_path: Path) -> None:
    ended = train(digits_folder, tmp_path)
    assert ended.exit_code == 3, ended.output
    store = FolderStore(tmp_path / "mine")
    record = read_run(store)
    assert record["status"] == "diverged"
    diverged = record["diverged"]
    assert diverged is not None
    assert (diverged["since"], diverged["good"]) == (BROKEN_FROM, GOOD)
    assert diverged["step"] <= BROKEN_FROM + 3
    assert GOOD in Checkpoints(store, 1).steps(), "one checkpoint is kept, and this one beside it"
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: diverged: ")
    assert f"since update {BROKEN_FROM}" in line
    assert f"go on with --from step-{GOOD}, and optim.lr_generator=" in line
    assert [event.kind for event in read_events(store)].count("diverged") == 1


@pytest.mark.usefixtures("breaks")
def test_it_is_not_simply_trained_again_and_goes_on_as_it_says(digits_folder: Path, tmp_path: Path) -> None:
    train(digits_folder, tmp_path)
    store = FolderStore(tmp_path / "mine")
    before = contents(tmp_path)
    again = train(digits_folder, tmp_path)
    assert again.exit_code == 3
    assert "run mine has diverged: " in again.stderr
    assert contents(tmp_path) == before
    shown = CliRunner().invoke(main, ["runs", "show", "mine", "--storage", str(tmp_path)])
    assert f"step-{GOOD} (good)" in shown.stdout
    assert "diverged" in shown.stdout
    went_on = train(digits_folder, tmp_path, "--from", f"step-{GOOD}", "optim.lr_discriminator=5e-4")
    assert went_on.exit_code == 0, went_on.output
    assert read_run(store)["status"] == "finished"
    assert read_run(store)["diverged"] is None


@pytest.mark.usefixtures("breaks")
def test_a_run_may_go_back_by_itself_and_a_resumed_one_makes_the_same_weights(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(digits_folder, tmp_path / "whole", "run.on_divergence=rollback")
    assert whole.exit_code == 0, whole.output
    assert f"run mine goes back from update {BROKEN_FROM + 1} to the checkpoint of step {GOOD}" in whole.stdout
    store = FolderStore(tmp_path / "whole/mine")
    (rollback,) = read_run(store)["rollbacks"]
    assert (rollback["to"], read_run(store)["status"]) == (GOOD, "finished")
    assert [line["step"] for line in read_metrics(store) if "loss/d" in line] == list(range(1, UPDATES + 1))
    assert [event.kind for event in read_events(store)].count("rolled_back") == 1

    update = InfoGAN.update_discriminator
    cut_at = [GOOD + 8]

    def cut(system: InfoGAN, real: Tensor) -> Scalars:
        if [system.updates] == cut_at and rate_of(system) < 0.9 * FIRST_RATE:
            cut_at.clear()
            raise PowerCut
        return update(system, real)

    monkeypatch.setattr(InfoGAN, "update_discriminator", cut)
    with pytest.raises(PowerCut):
        train(digits_folder, tmp_path / "cut", "run.on_divergence=rollback")
    resumed = train(digits_folder, tmp_path / "cut", "run.on_divergence=rollback")
    assert resumed.exit_code == 0, resumed.output
    a, b = (Checkpoints(FolderStore(tmp_path / name / "mine"), 1).load(UPDATES) for name in ("whole", "cut"))
    assert a is not None
    assert b is not None
    for name, network in a["networks"].items():
        assert all(torch.equal(value, b["networks"][name][key]) for key, value in network.items())


def test_a_run_that_diverges_again_and_again_ends(digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower rates do not help against everything."""
    step = InfoGAN.step

    def broken(system: InfoGAN, batch: Batch) -> Scalars:
        scalars = step(system, batch)
        return scalars | {"info/categorical_0_nats": scalars["loss/d"] - 1e3} if system.updates >= BROKEN_FROM else scalars

    monkeypatch.setattr(InfoGAN, "step", broken)
    ended = train(digits_folder, tmp_path, "run.on_divergence=rollback", "divergence.rollbacks=2")
    assert ended.exit_code == 3, ended.output
    record = json.loads((tmp_path / "mine/run.json").read_text())
    assert [rollback["to"] for rollback in record["rollbacks"]] == [GOOD, GOOD]
    assert record["status"] == "diverged"
    rates = {
        optimizer["param_groups"][0]["lr"]
        for optimizer in (Checkpoints(FolderStore(tmp_path / "mine"), 1).load() or {})["optimizers"].values()
    }
    assert max(rates) == pytest.approx(0.25 * FIRST_RATE), "each return halves them once more"


def test_a_run_that_has_learnt_nothing_says_so_and_fails_where_nobody_watches(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "nothing_learnt", lambda config, scores: "it guesses")
    done = train(digits_folder, tmp_path, "run.updates=2")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[-1] == "nothing was learnt: it guesses"
    for words in ((), ("run.updates=3",)):  # a run that is finished, and one that trains
        failed = train(digits_folder, tmp_path, "run.updates=2", *words, "--fail-if-nothing-learnt")
        assert failed.exit_code == 1, failed.output
        assert "run mine has learnt nothing" in failed.stderr
    listed = CliRunner().invoke(main, ["runs", "list", "--storage", str(tmp_path)])
    assert "nothing learnt" in listed.stdout
    shown = CliRunner().invoke(main, ["runs", "show", "mine", "--storage", str(tmp_path)])
    assert "nothing was learnt: it guesses" in shown.stdout


def test_the_best_checkpoint_is_made_where_it_is_measured_and_outlives_newer_ones(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measure falls from the third evaluation on; checkpoints are due at other updates than evaluations."""
    values = iter([0.3, 0.5, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr("unbraid.trainers.loop.evaluate", lambda config, model, data: {"code/accuracy": next(values)})
    done = train(digits_folder, tmp_path, "run.updates=18", "run.evaluate_every=3", "run.checkpoint_every=4")
    assert done.exit_code == 0, done.output
    store = FolderStore(tmp_path / "mine")
    assert Checkpoints(store, 1).steps() == [9, 18]
    assert read_run(store)["checkpoints"] == {"best": 9, "good": 18}


def test_a_finished_run_with_a_larger_budget_is_judged_anew(digits_folder: Path, tmp_path: Path) -> None:
    """Rates had fallen to nothing, and jump back to what the larger budget has there: that is no divergence."""
    decays = ("optim.decay_from=0.2", "divergence.update_factor=3", "divergence.spread=0.1", "divergence.gradient_factor=1e6")
    assert train(digits_folder, tmp_path, *decays).exit_code == 0
    longer = train(digits_folder, tmp_path, *decays, "run.updates=90")
    assert longer.exit_code == 0, longer.output
    norms = [line["update_norm/generator"] for line in read_metrics(FolderStore(tmp_path / "mine")) if "loss/d" in line]
    assert norms[UPDATES + 2] > 6 * norms[UPDATES - 2], "else this test shows nothing"
    assert read_run(FolderStore(tmp_path / "mine"))["judged_from"] == UPDATES
