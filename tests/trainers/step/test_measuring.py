"""Measuring on all ranks: two workers report the figures that one reports."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.pairs import cdd_config
from tests.trainers.systems.people import stage_config
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.step.distributed import World, gather_parts, on_main, share_buffers, spread
from unbraid.trainers.system import build_system, evaluate

CPU = torch.device("cpu")


def join(rank: int, world_size: int, folder: str) -> World:
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    return World(rank, world_size)


def leave(world: World) -> None:
    if world.size > 1:
        dist.destroy_process_group()


def measure(rank: int, world_size: int, folder: str, content: dict[str, Any]) -> None:
    """One rank's part of an evaluation; what other ranks believe of batch norms' statistics is broken on purpose."""
    world = join(rank, world_size, folder)
    config = load_config(content)
    system = build_system(config, CPU, World())
    if rank:
        for network in system.networks.values():
            for buffer in network.buffers():
                buffer.fill_(3)
    share_buffers(system.networks, world)
    data = EvaluationData(config, CPU, world)
    torch.save(evaluate(config, system.model, data), f"{folder}/{world_size}-{rank}.pt")
    leave(world)


def scores(folder: Path, world_size: int, config: SystemConfig) -> list[dict[str, float]]:
    arguments = (world_size, str(folder), config.model_dump(mode="json"))
    start_processes(measure, args=arguments, nprocs=world_size)
    return [torch.load(folder / f"{world_size}-{rank}.pt", weights_only=True) for rank in range(world_size)]


def check_two_report_what_one_reports(config: SystemConfig, folder: Path) -> None:
    """Each rank reads and computes half; sums in another order leave differences of rounding."""
    (alone,), both = scores(folder, 1, config), scores(folder, 2, config)
    assert both[0] == both[1]
    assert both[0] == pytest.approx(alone, rel=1e-3, abs=1e-4)


def test_infogan_reports_the_same_from_two_workers(digits_folder: Path, tmp_path: Path) -> None:
    """150 held-out digits make one batch of 500: the second rank has none of them."""
    check_two_report_what_one_reports(resolve("infogan-mnist", [*TINY, f"data.url={digits_folder}"]), tmp_path)


@pytest.mark.parametrize("stage", ["appearance", "pose", "mapping"])
def test_dpig_reports_the_same_from_two_workers(stage: str, trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    check_two_report_what_one_reports(stage_config(stage, people_url, trained_dpig), tmp_path)


def test_cdd_reports_the_same_from_two_workers(pairs_url: str, tmp_path: Path) -> None:
    check_two_report_what_one_reports(cdd_config(pairs_url, tmp_path), tmp_path)


def gather(rank: int, world_size: int, folder: str) -> None:
    """Parts of several sizes, more than ranks and no multiple of them, and fewer than ranks."""
    world = join(rank, world_size, folder)
    parts = [torch.arange(n * 2).view(n, 2) + 100 * n for n in (3, 1, 4, 0, 2)]
    gathered = gather_parts(parts[rank::world_size], world)
    assert all(torch.equal(a, b) for a, b in zip(gathered, parts, strict=True))
    (only,) = gather_parts(parts[:1][rank::world_size], world)
    assert torch.equal(only, parts[0])
    squares = spread(lambda n: torch.full((n,), float(n**2)), [1, 2, 3], world)
    assert [s.tolist() for s in squares] == [[1.0], [4.0, 4.0], [9.0, 9.0, 9.0]]
    assert on_main(lambda: {"rank": float(rank)}, world) == {"rank": 0.0}
    assert world.any(rank == world_size - 1)
    assert not world.any(False)
    leave(world)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_parts_of_all_ranks_come_in_the_order_of_one(workers: int, tmp_path: Path) -> None:
    start_processes(gather, args=(workers, str(tmp_path)), nprocs=workers)
