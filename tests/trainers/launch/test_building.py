"""What a configuration's networks, optimisers and first update refuse is found without weights and data."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.trainers.systems.infogan.test_system import TINY
from unbraid.datasets.store import FolderStore
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import CheckpointError, ConfigError
from unbraid.trainers.launch.building import check_system
from unbraid.trainers.runs.checkpoint import expected_bytes
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.infogan.system import InfoGAN

CONFIG = resolve("infogan-mnist", TINY)


def test_a_configuration_that_can_be_trained_writes_nothing(tmp_path: Path) -> None:
    check_system(CONFIG, FolderStore(tmp_path / "runs/mine"))
    assert not list(tmp_path.iterdir())


def test_an_update_whose_sizes_do_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InfoGAN, "update_discriminator", lambda system, real: real @ real.new_empty(3, 5))
    with pytest.raises(ConfigError, match=r"^infogan cannot make an update of this configuration: .*\[3, 5\]"):
        check_system(CONFIG, FolderStore(tmp_path))


@pytest.mark.parametrize("reads", [torch.Tensor.item, torch.Tensor.cpu, torch.Tensor.tolist, bool])
def test_a_system_that_reads_the_device_in_its_update_is_not_refused(
    reads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains on real devices, though no faster for that."""
    monkeypatch.setattr(InfoGAN, "update_discriminator", lambda system, real: {"value": reads(real.sum())})
    check_system(CONFIG, FolderStore(tmp_path))


def test_a_disk_that_is_too_small_is_found_before_its_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is that of the nearest folder that is there."""
    asked: list[Path] = []

    def usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=1 << 20)

    monkeypatch.setattr("unbraid.trainers.runs.checkpoint.shutil.disk_usage", usage)
    with pytest.raises(CheckpointError, match=r"has 1 MiB free, but \d+ MiB are needed for checkpoints"):
        check_system(CONFIG, FolderStore(tmp_path / "runs/mine"))
    assert asked == [tmp_path]
    assert expected_bytes(build_system(CONFIG, torch.device("meta"), World())) > 1 << 20
