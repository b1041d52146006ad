"""The compute type: chosen by configuration and device, and really used by every system's step."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.trainers.systems.infogan.test_system import batch, infogan
from tests.trainers.systems.pairs import cdd_config, pix2pix_config
from tests.trainers.systems.people import stage_config
from unbraid.datasets.stream.stream import Position
from unbraid.trainers.data import open_stream
from unbraid.trainers.step import precision
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.precision import autocast, full_precision, resolve_precision
from unbraid.trainers.system import System, build_system
from unbraid.trainers.systems.infogan import system as infogan_system

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[{"avx512_bf16"}, {"amx_bf16"}, {"avx2"}, set()])
def flags(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What the processor says it can do."""
    monkeypatch.setattr(precision, "_cpu_flags", lambda: request.param)
    yield request.param


def test_auto_is_bfloat16_only_where_the_processor_has_instructions_for_it(flags: set[str]) -> None:
    wanted = torch.bfloat16 if flags & {"avx512_bf16", "amx_bf16"} else torch.float32
    assert resolve_precision("auto", CPU) == wanted


def test_what_is_named_is_taken_on_any_device(flags: set[str]) -> None:
    for device in (CPU, torch.device("meta")):
        assert resolve_precision("bfloat16", device) == torch.bfloat16
        assert resolve_precision("float32", device) == torch.float32


def test_autocast_computes_in_its_type_and_full_precision_leaves_it() -> None:
    a = torch.ones(2, 2)
    with autocast(CPU, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with full_precision(CPU):
            assert (a @ a).dtype == torch.float32
    with autocast(CPU, torch.float32):
        assert (a @ a).dtype == torch.float32


def types_of_outputs(system: System, step: dict[str, torch.Tensor]) -> set[torch.dtype]:
    """Of all convolutions and fully connected layers that are trained, in one update."""
    seen: set[torch.dtype] = set()
    for name, network in system.networks.items():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d) and not name.endswith("_ema"):
                module.register_forward_hook(lambda m, i, output: seen.add(output.dtype))
    system.step(step)
    return seen


@pytest.mark.parametrize(("name", "wanted"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_infogan_computes_in_the_type_that_is_asked_for(name: str, wanted: torch.dtype) -> None:
    assert types_of_outputs(infogan(f"run.precision={name}"), batch()) == {wanted}


@pytest.mark.parametrize(("name", "wanted"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_other_systems_compute_in_the_type_that_is_asked_for(
    name: str, wanted: torch.dtype, people_url: str, pairs_url: str, tmp_path: Path
) -> None:
    """All but what must not be rounded, such as penalties' gradients: some layer at least in the type that is asked for."""
    configs = [stage_config(s, people_url, tmp_path, f"run.precision={name}") for s in ("appearance", "pose")]
    configs += [translating(pairs_url, tmp_path, f"run.precision={name}") for translating in (cdd_config, pix2pix_config)]
    for config in configs:
        with open_stream(config, World(), Position()) as stream:
            assert types_of_outputs(build_system(config, CPU, World()), next(stream)) == {wanted}, config.system


def test_infogans_random_changes_are_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coordinates in bfloat16 would move an image by whole pixels."""
    seen: set[tuple[torch.dtype, bool]] = set()

    def observed(images: torch.Tensor, *arguments: object) -> torch.Tensor:
        seen.add((images.dtype, torch.is_autocast_enabled("cpu")))
        return images

    monkeypatch.setattr(infogan_system, "random_affine", observed)
    infogan("run.precision=bfloat16", "augment.enabled=true").step(batch())
    assert seen == {(torch.float32, False)}
