"""Whole runs in one process: records, resume, refusals."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.conftest import pack_digits
from tests.trainers.systems.infogan.test_system import TINY
from unbraid.datasets.shards.index import read_index, write_index
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import SampleStream, read_split
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError, DivergenceError
from unbraid.trainers.evaluate import evaluate_run
from unbraid.trainers.launch.preflight import is_finished, preflight
from unbraid.trainers.loop import train
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_config, read_metrics, read_run
from unbraid.trainers.step.distributed import World


def config_for(url: str, storage: Path | str, *overrides: str) -> SystemConfig:
    base = ["run.name=run", f"run.storage={storage}", f"data.url={url}", "run.updates=9", "run.checkpoint_every=4"]
    return resolve("infogan-mnist", [*TINY, *base, "run.log_every=1", "run.preview_every=5", *overrides])


def run(config: SystemConfig) -> None:
    store = preflight(config, "test")
    train(config, store, World(), torch.device("cpu"), lambda line: None)


def final_weights(storage: Path | str) -> dict[str, Any]:
    state = Checkpoints(open_run(str(storage), "run"), keep=2).load()
    assert state is not None
    return {f"{n}.{k}": v for n, network in state["networks"].items() for k, v in network.items()}


class PowerCut(BaseException):
    """What ends a process without asking it."""


@pytest.mark.usefixtures("unmeasured")
def test_resume_continues_with_identical_weights(digits_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(config_for(digits_url, tmp_path / "whole"))
    calls = 0
    advance = SampleStream.__next__

    def cut(stream: SampleStream) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise PowerCut
        return advance(stream)

    monkeypatch.setattr(SampleStream, "__next__", cut)
    with pytest.raises(PowerCut):
        run(config_for(digits_url, tmp_path / "cut"))
    monkeypatch.undo()
    run(config_for(digits_url, tmp_path / "cut"))
    whole, cut_short = final_weights(tmp_path / "whole"), final_weights(tmp_path / "cut")
    assert whole.keys() == cut_short.keys()
    assert all(torch.equal(whole[name], cut_short[name]) for name in whole)
    lines = [line for line in read_metrics(open_run(str(tmp_path / "cut"), "run")) if "loss/d" in line]
    assert [line["step"] for line in lines] == list(range(1, 10))
    expected = [line for line in read_metrics(open_run(str(tmp_path / "whole"), "run")) if "loss/d" in line]
    assert [line["loss/d"] for line in lines] == [line["loss/d"] for line in expected]


@pytest.mark.parametrize("where", [pytest.param("folder", marks=pytest.mark.slow), "s3"])
def test_a_run_leaves_its_whole_record(digits_url: str, bucket_url: str, tmp_path: Path, where: str) -> None:
    storage = str(tmp_path) if where == "folder" else bucket_url
    config = config_for(digits_url, storage, "run.evaluate_every=5")
    run(config)
    store = open_run(storage, "run")
    assert read_config(store) == config
    record = read_run(store)
    assert record["status"] == "finished"
    assert record["step"] == 9
    assert len(record["data_digest"]) == 64
    assert record["versions"]["torch"] == torch.__version__
    assert 0 <= record["evaluation"]["code/accuracy"] <= 1
    lines = read_metrics(store)
    evaluations = [line["step"] for line in lines if "evaluation/code/accuracy" in line]
    assert evaluations == [5], "what is chosen by"
    assert [line["step"] for line in lines if "test/code/accuracy" in line] == [9], "what is reported"
    assert record["evaluation_split"] == "test"
    keys = store.keys()
    assert {"preview/samples/00000005.png", "preview/samples/00000009.png", "report.png"} <= set(keys)
    assert any(key.startswith("tensorboard/events") for key in keys)
    (tmp_path / "copy.png").write_bytes(store.get("report.png"))
    with Image.open(tmp_path / "copy.png") as report:
        assert min(report.size) > 800
    assert is_finished(config, store)
    scores = evaluate_run(storage, "run", None)
    assert scores == {"step": 9, **record["evaluation"]}


@pytest.mark.parametrize("reported", ["test", None])
def test_choosing_and_reporting_look_at_different_splits(
    digits_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: str | None
) -> None:
    """Without a test split, as in a campaign's trials, its images are never read."""
    read: list[str] = []

    def reading(url: str, split: str, *rest: Any, **named: Any) -> Any:
        read.append(split)
        return read_split(url, split, *rest, **named)

    monkeypatch.setattr("unbraid.trainers.data.read_split", reading)
    run(config_for(digits_url, tmp_path, "run.updates=2", "run.evaluate_every=1", f"data.test_split={reported or 'null'}"))
    assert set(read) == {"train", "validation"} | ({"test"} if reported else set())
    record = read_run(open_run(str(tmp_path), "run"))
    assert record["evaluation_split"] == (reported or "validation")
    named = [name for line in read_metrics(open_run(str(tmp_path), "run")) for name in line if name.startswith("test/")]
    assert bool(named) == bool(reported)


@pytest.mark.parametrize("key", ["validation_split", "test_split"])
def test_a_set_without_a_split_is_refused_before_training(digits_url: str, tmp_path: Path, key: str) -> None:
    config = config_for(digits_url, tmp_path, f"data.{key}=none")
    with pytest.raises(ConfigError, match=rf"data\.{key}=none: the set at .* has no such split, only train, validation, test"):
        preflight(config, "test")
    assert not list(tmp_path.iterdir())


def test_no_secret_is_in_a_run_record(digits_url: str, tmp_path: Path, services: Any) -> None:
    run(config_for(digits_url, tmp_path, "run.updates=1"))
    secrets = [v for k, v in services.environment().items() if k in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path


@pytest.mark.slow
def test_more_updates_go_on_with_a_finished_run(digits_url: str, tmp_path: Path) -> None:
    """Without decay, where the budget has no part in the learning rate, it is as if it had been longer from the start."""
    run(config_for(digits_url, tmp_path / "whole", "optim.decay_from=1"))
    run(config_for(digits_url, tmp_path / "longer", "optim.decay_from=1", "run.updates=5"))
    longer = config_for(digits_url, tmp_path / "longer", "optim.decay_from=1")
    assert not is_finished(longer, open_run(str(tmp_path / "longer"), "run"))
    run(longer)
    whole, grown = final_weights(tmp_path / "whole"), final_weights(tmp_path / "longer")
    assert all(torch.equal(whole[name], grown[name]) for name in whole)


def test_a_run_of_another_configuration_is_not_touched(digits_url: str, tmp_path: Path) -> None:
    run(config_for(digits_url, tmp_path, "run.updates=2"))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"loss\.info_continuous: 1\.0 there, 0\.5 asked for"):
        preflight(config_for(digits_url, tmp_path, "loss.info_continuous=0.5"), "test")
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_a_run_does_not_go_on_with_another_set(tmp_path: Path) -> None:
    """The same shards in another order are another set: their digests differ."""
    store = open_store(str(tmp_path / "set"), create=True)
    index = pack_digits(store)
    run(config_for(store.url, tmp_path, "run.updates=1"))
    write_index(store, dataclasses.replace(index, splits={name: shards[::-1] for name, shards in index.splits.items()}))
    config = config_for(store.url, tmp_path, "run.updates=2")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(
        ConfigError, match=rf"digest {index.digest}, at data\.url is now the one with {read_index(store).digest}"
    ):
        preflight(config, "test")
    with pytest.raises(ConfigError, match="put the old set there"):
        train(config, open_run(str(tmp_path), "run"), World(), torch.device("cpu"), lambda line: None)
    assert {p: p.read_bytes() for p in before} == before
    write_index(store, index)
    run(config)


def test_images_of_another_size_are_told_before_training(digits_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"networks\.image: \(1, 32, 32\) does not fit the images at"):
        preflight(config_for(digits_url, tmp_path, "networks.image={channels: 1, height: 32, width: 32}"), "test")


@pytest.mark.usefixtures("unmeasured")
def test_a_minute_budget_ends_the_run(digits_url: str, tmp_path: Path) -> None:
    run(config_for(digits_url, tmp_path, "run.updates=100000", "run.minutes=0.02"))
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "finished"
    assert 1 <= record["step"] < 1000


def test_divergence_is_told_and_the_checkpoints_stay(digits_url: str, tmp_path: Path) -> None:
    config = config_for(digits_url, tmp_path, "optim.lr_discriminator=1e30", "run.updates=20", "run.checkpoint_every=1")
    with pytest.raises(
        DivergenceError, match=r"^diverged: .*(is|are) not finite, certain at update \d+;.* and optim\.lr_generator="
    ):
        run(config)
