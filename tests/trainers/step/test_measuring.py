"""Measuring on all ranks: two workers report the figures that one reports."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.trainers.step.processes import run_processes
from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.pairs import cdd_config, pix2pix_config
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


def measure(rank: int, world_size: int, folder: str, contents: dict[str, dict[str, Any]]) -> None:
    """One rank's part of each evaluation; what other ranks believe of batch norms' statistics is broken on purpose."""
    world = join(rank, world_size, folder)
    for name, content in contents.items():
        config = load_config(content)
        system = build_system(config, CPU, World())
        if rank:
            for network in system.networks.values():
                for buffer in network.buffers():
                    buffer.fill_(3)
        share_buffers(system.networks, world)
        data = EvaluationData(config, CPU, "test", world)
        torch.save(evaluate(config, system.model, data), f"{folder}/{name}-{world_size}-{rank}.pt")
    leave(world)


Scores = dict[str, float]


@pytest.fixture(scope="module")
def reports(
    digits_folder: Path, trained_dpig: Path, people_url: str, pairs_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Scores, Scores, Scores]]:
    """What each system reports from one worker, and from the first and the second of two."""
    folder = tmp_path_factory.mktemp("reports")
    configs: dict[str, SystemConfig] = {
        "infogan": resolve("infogan-mnist", [*TINY, f"data.url={digits_folder}"]),
        **{stage: stage_config(stage, people_url, trained_dpig) for stage in ("appearance", "pose", "mapping")},
        "cdd": cdd_config(pairs_url, folder),
        "pix2pix": pix2pix_config(pairs_url, folder),
    }
    contents = {name: config.model_dump(mode="json") for name, config in configs.items()}
    threads = torch.get_num_threads()
    measure(0, 1, str(folder), contents)
    torch.set_num_threads(threads)
    run_processes(measure, (2, str(folder), contents), 2)

    def read(name: str, ranks: str) -> Scores:
        found: Scores = torch.load(folder / f"{name}-{ranks}.pt", weights_only=True)
        return found

    return {name: (read(name, "1-0"), read(name, "2-0"), read(name, "2-1")) for name in configs}


@pytest.mark.parametrize("name", ["infogan", "appearance", "pose", "mapping", "cdd", "pix2pix"])
def test_two_workers_report_what_one_reports(name: str, reports: dict[str, tuple[Scores, Scores, Scores]]) -> None:
    """Each rank reads and computes half; sums in another order leave differences of rounding.

    InfoGAN's 150 held-out digits make one batch of 500: the second rank has none of them.
    """
    alone, first, second = reports[name]
    assert first == second
    assert first == pytest.approx(alone, rel=1e-3, abs=1e-4)


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


@pytest.mark.parametrize("workers", [1, 3])
def test_parts_of_all_ranks_come_in_the_order_of_one(workers: int, tmp_path: Path) -> None:
    run_processes(gather, (workers, str(tmp_path)), workers)
