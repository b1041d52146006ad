"""Every system says what it measures and which of it reads labels; a search relies on that."""

from pathlib import Path

import pytest
import torch

from tests.trainers.systems.pairs import cdd_config
from tests.trainers.systems.people import run as run_one
from tests.trainers.systems.people import stage_config
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.evaluate import read_model
from unbraid.trainers.measures.density import density_and_coverage, principal_components
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_config, read_metrics, read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import agreement, build_system
from unbraid.trainers.systems.infogan.agreement import matched

CPU = torch.device("cpu")


def small_infogan(url: str, storage: Path, *overrides: str) -> SystemConfig:
    return resolve(
        "infogan-mnist-reference",
        [
            f"data.url={url}", f"run.storage={storage}", "run.name=small", "run.updates=6", "run.log_every=1", "data.batch=16",
            "networks.generator={hidden: 32, start_channels: 8, layers: [{channels: 8}]}",
            "networks.trunk={layers: [{channels: 8, norm: false}, {channels: 8}], hidden: 32}", *overrides,
        ],
    )  # fmt: skip


def evaluation(config: SystemConfig) -> dict[str, float]:
    assert config.run.name is not None
    scores: dict[str, float] = read_run(open_run(config.run.storage, config.run.name))["evaluation"]
    return scores


@pytest.mark.usefixtures("one_thread")
def test_infogan_reports_what_it_says_with_and_without_labels(digits_folder: Path, tmp_path: Path) -> None:
    for labels in (True, False):
        config = small_infogan(str(digits_folder), tmp_path / str(labels), f"run.labels={str(labels).lower()}")
        run_one(config)
        said = {name for name, reads in config.measures().items() if labels or not reads}
        assert set(evaluation(config)) == said


@pytest.mark.parametrize("stage", ["appearance", "pose", "mapping"])
def test_dpig_reports_what_it_says(stage: str, trained_dpig: Path) -> None:
    store = open_run(str(trained_dpig), stage)
    assert set(read_run(store)["evaluation"]) == set(read_config(store).measures())


@pytest.mark.usefixtures("one_thread")
def test_dpig_without_labels_reports_what_reads_none(people_url: str, tmp_path: Path) -> None:
    config = stage_config("appearance", people_url, tmp_path, "run.updates=2", "run.labels=false")
    run_one(config)
    assert set(evaluation(config)) == {name for name, reads in config.measures().items() if not reads}


def test_cdd_reports_what_it_says(trained_cdd: Path) -> None:
    store = open_run(str(trained_cdd), "cdd")
    assert set(read_run(store)["evaluation"]) == set(read_config(store).measures())


@pytest.mark.usefixtures("one_thread")
def test_cdd_without_labels_reports_what_reads_none(pairs_url: str, tmp_path: Path) -> None:
    config = cdd_config(pairs_url, tmp_path, "run.updates=2", "run.labels=false")
    run_one(config)
    assert set(evaluation(config)) == {name for name, reads in config.measures().items() if not reads}


@pytest.mark.usefixtures("one_thread")
def test_a_run_is_measured_at_the_updates_that_are_named(digits_folder: Path, tmp_path: Path) -> None:
    config = small_infogan(str(digits_folder), tmp_path, "run.evaluate_at=[2,3]")
    run_one(config)
    lines = read_metrics(open_run(str(tmp_path), "small"))
    assert [line["step"] for line in lines if "evaluation/info/share" in line] == [2, 3]
    assert [line["step"] for line in lines if "test/info/share" in line] == [6]
    assert all(line["samples/fake_deviation"] > 0 for line in lines if "samples/fake_deviation" in line)


def test_coverage_is_near_one_of_the_same_images_and_zero_of_others() -> None:
    source = torch.Generator().manual_seed(0)
    real, same = (torch.rand(400, 1, 6, 6, generator=source) for _ in range(2))
    scores = density_and_coverage(*principal_components(real, same))
    assert scores["coverage"] > 0.9
    assert 0.7 < scores["density"] < 1.5
    assert density_and_coverage(*principal_components(real, same + 9))["coverage"] == 0
    one = same[:1].expand(400, -1, -1, -1)  # collapsed
    assert density_and_coverage(*principal_components(real, one))["coverage"] < 0.1


@pytest.mark.usefixtures("one_thread")
def test_shares_of_information_are_those_of_its_nats(digits_folder: Path, tmp_path: Path) -> None:
    config = small_infogan(str(digits_folder), tmp_path, "run.updates=2", "codes.variance=[fixed,learnt]")
    run_one(config)
    scores, codes = evaluation(config), config.codes  # type: ignore[attr-defined]
    shares = codes.information_shares({name: scores[f"info/{name}_nats"] for name in codes.names})
    assert {name: scores[f"info/{name}_share"] for name in codes.names} == pytest.approx(shares)
    assert scores["info/share"] == pytest.approx(sum(shares.values()) / 3)
    assert scores["info/continuous_0_explained"] == pytest.approx(scores["info/continuous_0_share"], abs=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_a_model_agrees_with_itself_more_than_with_a_stranger(digits_folder: Path, tmp_path: Path) -> None:
    config = small_infogan(str(digits_folder), tmp_path, "run.updates=60", "optim.ema_every=1", "optim.ema_decay=0.9")
    run_one(config)
    model, updates = read_model(open_run(str(tmp_path), "small"), CPU)
    assert updates == 60
    other = config.model_copy(update={"run": config.run.model_copy(update={"seed": 9})})
    stranger = build_system(other, CPU, World()).model
    assert agreement("infogan", model, model) > agreement("infogan", stranger, model) + 0.2


def test_codes_are_matched_one_to_one() -> None:
    table = torch.tensor([[0.9, 0.8], [0.7, 0.1], [0.2, 0.3]]).numpy()
    assert matched(table).tolist() == pytest.approx([0.8, 0.7, 0.0])
