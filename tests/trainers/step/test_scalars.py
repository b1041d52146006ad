"""What a step reports: single numbers that keep no graph alive."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.infogan.test_system import batch, infogan
from tests.trainers.systems.pairs import cdd_config, pix2pix_config
from tests.trainers.systems.people import stage_config
from unbraid.datasets.stream.stream import Position
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import open_stream
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

pytestmark = pytest.mark.usefixtures("one_thread")


def of_one_step(config: SystemConfig) -> dict[str, Tensor]:
    with open_stream(config, World(), Position()) as stream:
        return build_system(config, torch.device("cpu"), World()).step(next(stream))


def assert_plain(scalars: dict[str, Tensor]) -> None:
    for name, scalar in scalars.items():
        assert scalar.shape == (), name
        assert scalar.dtype == torch.float32, f"{name} is rounded to {scalar.dtype}"
        assert not scalar.requires_grad, f"{name} keeps its update's graph in memory"
        assert torch.isfinite(scalar), name


def test_infogans_scalars_are_plain_numbers() -> None:
    assert_plain(infogan("run.precision=bfloat16").step(batch()))


@pytest.mark.parametrize("stage", ["appearance", "pose"])
def test_the_scalars_of_dpigs_first_stage_are_plain_numbers(stage: str, people_url: str, tmp_path: Path) -> None:
    assert_plain(of_one_step(stage_config(stage, people_url, tmp_path, "run.precision=bfloat16")))


def test_the_scalars_of_dpigs_second_stage_are_plain_numbers(trained_dpig: Path, people_url: str) -> None:
    assert_plain(of_one_step(stage_config("mapping", people_url, trained_dpig, "run.precision=bfloat16")))


@pytest.mark.parametrize("config", [cdd_config, pix2pix_config])
def test_the_scalars_of_systems_that_translate_are_plain_numbers(
    config: Callable[..., SystemConfig], pairs_url: str, tmp_path: Path
) -> None:
    assert_plain(of_one_step(config(pairs_url, tmp_path, "run.precision=bfloat16")))
