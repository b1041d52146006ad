"""Two workers are one: the same global batches end in the same weights, whatever shares them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.trainers.step.processes import run_processes
from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.pairs import cdd_config, pix2pix_config
from tests.trainers.systems.people import stage_config
from unbraid.datasets.stream.stream import Position, SampleStream
from unbraid.models.normalization import GlobalBatchNorm, synchronise_batch_norm
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.data import open_stream
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.player import Player
from unbraid.trainers.system import System, build_system

UPDATES = 4
TOLERANCE = 1e-6
"""Of each tensor's movement."""


def in_double_precision() -> None:
    """For a process that compares: float32 sums in another order put single activations on the other side of a kink, and
    Adam makes a step of the sign of a gradient that is rounding error; in double precision, what is left is a mistake.
    """
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]  # losses ask for float32 by name
    torch.float32 = torch.float64  # and so do images


def as_double(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch whose floating-point fields are of double precision."""
    return {name: field.double() if field.is_floating_point() else field for name, field in batch.items()}


def train_share(rank: int, world_size: int, folder: str, url: str, batch_norm: str) -> None:
    """What one of ``world_size`` processes does: a few updates, then its weights into ``folder``."""
    torch.set_num_threads(1)
    in_double_precision()
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    overrides = [*TINY, f"run.workers={world_size}", f"run.batch_norm={batch_norm}", "optim.ema_every=2"]
    system = build_system(resolve("infogan-mnist", overrides), torch.device("cpu"), World(rank, world_size, 8))
    save_starts(system, folder, rank)
    with SampleStream(url, "train", batch=64, lanes=8, window=100, seed=0, rank=rank, world_size=world_size) as stream:
        for _ in range(UPDATES):
            system.step(next(stream))
    state = {name: network.state_dict() for name, network in system.networks.items()}
    torch.save(state, f"{folder}/{world_size}-{rank}.pt")
    if world_size > 1:
        dist.destroy_process_group()


def trained(folder: Path, world_size: int, rank: int) -> dict[str, Tensor]:
    state = torch.load(folder / f"{world_size}-{rank}.pt", weights_only=True)
    return {
        f"{name}.{key}": value
        for name, network in state.items()
        for key, value in network.items()
        if "num_batches_tracked" not in key
    }


def spawn(folder: Path, world_size: int, url: str, batch_norm: str) -> None:
    run_processes(train_share, (world_size, str(folder), url, batch_norm), world_size)


def save_starts(system: System, folder: str, rank: int) -> None:
    """Keep the tensors that learn, as they are before the first update; all processes have the same."""
    learn = {
        f"{network}.{name}": parameter.detach().clone()
        for network, module in system.networks.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not network.endswith("_ema")
    }
    if rank == 0:
        torch.save(learn, f"{folder}/start.pt")


def apart(folder: Path, alone: dict[str, Tensor], shared: dict[str, Tensor]) -> dict[str, float]:
    """Of each tensor that learns: how far the two ends lie apart, as a share of how far training moved it."""
    starts: dict[str, Tensor] = torch.load(folder / "start.pt", weights_only=True)
    return {
        name: ((alone[name] - shared[name]).norm() / (alone[name] - start).norm().clamp_min(1e-9)).item()
        for name, start in starts.items()
    }


@pytest.fixture(scope="module")
def alone(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Weights that one worker ends with; its statistics are those of the whole batch in any case."""
    folder = tmp_path_factory.mktemp("alone")
    spawn(folder, 1, str(digits_folder), "global")
    return trained(folder, 1, 0)


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_workers_end_with_the_weights_of_one(
    workers: int, alone: dict[str, Tensor], tmp_path: Path, digits_folder: Path
) -> None:
    """Statistics of the global batch; the control is below. Of 8 lanes three workers own 2, 3 and 3."""
    spawn(tmp_path, workers, str(digits_folder), "global")
    shared, other = trained(tmp_path, workers, 0), trained(tmp_path, workers, 1)
    parts = apart(tmp_path, alone, shared)
    assert max(parts.values()) < TOLERANCE, parts
    assert all(torch.equal(shared[name], other[name]) for name in shared)


@pytest.mark.slow
def test_statistics_of_each_worker_are_another_training(alone: dict[str, Tensor], tmp_path: Path, digits_folder: Path) -> None:
    """The control of the test above; the ranks themselves still agree on every weight."""
    spawn(tmp_path, 2, str(digits_folder), "each")
    shared, other = trained(tmp_path, 2, 0), trained(tmp_path, 2, 1)
    parts = apart(tmp_path, alone, shared)
    assert sorted(parts.values())[len(parts) // 2] > 0.2
    assert all(torch.equal(shared[name], other[name]) for name in parts)


def test_a_group_that_grows_reads_what_one_worker_wrote_and_back() -> None:
    """As a checkpoint holds it: plain mappings, without torch's own remarks."""
    alone, back = nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.BatchNorm2d(3))
    shared = synchronise_batch_norm(nn.Sequential(nn.BatchNorm2d(3)))
    for parameter in alone.parameters():
        nn.init.normal_(parameter)
    shared.load_state_dict(dict(alone.state_dict()))
    back.load_state_dict(dict(shared.state_dict()))
    assert all(torch.equal(before, after) for before, after in zip(alone.parameters(), back.parameters(), strict=True))


def test_global_batch_norm_of_one_process_is_torch_batch_norm(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        ours, theirs = nn.Sequential(nn.BatchNorm2d(3)), nn.BatchNorm2d(3)
        synchronise_batch_norm(ours)
        assert isinstance(ours[0], GlobalBatchNorm)
        for _ in range(3):
            x = torch.randn(4, 3, 5, 5, requires_grad=True)
            y = x.detach().clone().requires_grad_()
            left, right = ours(x), theirs(y)
            (left**3).sum().backward()
            (right**3).sum().backward()
            assert torch.allclose(left, right, atol=1e-5)
            assert isinstance(x.grad, Tensor)
            assert isinstance(y.grad, Tensor)
            assert torch.allclose(x.grad, y.grad, atol=1e-4)
        assert isinstance(theirs.running_var, Tensor)
        assert torch.allclose(ours[0].running_var, theirs.running_var, atol=1e-6)
        ours.eval()
        theirs.eval()
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    finally:
        dist.destroy_process_group()


def test_a_frozen_network_passes_gradients_and_keeps_none() -> None:
    network = nn.Linear(3, 1)
    x = torch.ones(2, 3, requires_grad=True)
    player = Player("player", network, torch.optim.SGD(network.parameters(), 1.0), None, World())
    with player.frozen():
        network(x).sum().backward()
    assert x.grad is not None
    assert network.weight.grad is None
    assert network.weight.requires_grad


def train_configured(rank: int, world_size: int, folder: str, content: dict[str, Any]) -> None:
    """The same for any system by its dumped configuration, statistics of the global batch."""
    torch.set_num_threads(1)
    in_double_precision()
    content = content | {"run": content["run"] | {"workers": world_size, "batch_norm": "global"}}
    config = load_config(content)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    world = World(rank, world_size, config.data.lanes)
    system = build_system(config, torch.device("cpu"), world)
    save_starts(system, folder, rank)
    with open_stream(config, world, Position()) as stream:
        for _ in range(UPDATES):
            system.step(as_double(next(stream)))
    torch.save({name: n.state_dict() for name, n in system.networks.items()}, f"{folder}/{world_size}-{rank}.pt")
    if world_size > 1:
        dist.destroy_process_group()


def check_workers_are_one(config: SystemConfig, folder: Path, workers: int) -> None:
    """Statistics of the global batch."""
    for world_size in (1, workers):
        arguments = (world_size, str(folder), config.model_dump(mode="json"))
        run_processes(train_configured, arguments, world_size)
    alone, shared, other = (trained(folder, *who) for who in ((1, 0), (workers, 0), (workers, 1)))
    assert all(torch.equal(shared[name], other[name]) for name in shared)
    parts = apart(folder, alone, shared)
    assert max(parts.values()) < TOLERANCE, sorted(parts.items(), key=lambda item: -item[1])[:5]


@pytest.mark.parametrize(
    ("stage", "workers"),
    [
        pytest.param("appearance", 2, marks=pytest.mark.slow),
        pytest.param("pose", 2, marks=pytest.mark.slow),
        ("mapping", 3),
    ],
)
def test_workers_of_dpig_end_with_the_weights_of_one(
    stage: str, workers: int, trained_dpig: Path, people_url: str, tmp_path: Path
) -> None:
    """The mapping with a gradient penalty, whose inner gradient must not be averaged, and statistics of all workers."""
    lanes = ("data.batch=20", "data.lanes=4") if workers == 3 else ()
    config = stage_config(stage, people_url, trained_dpig, "data.augment.brightness=0.2", *lanes)
    check_workers_are_one(config, tmp_path, workers)


def test_two_workers_fit_the_gaussian_of_one(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    config = stage_config("mapping", people_url, trained_dpig, "kind=gaussian", "data.augment.brightness=0.2")
    for world_size in (1, 2):
        run_processes(train_configured, (world_size, str(tmp_path), config.model_dump(mode="json")), world_size)
    alone, shared, other = (trained(tmp_path, *who) for who in ((1, 0), (2, 0), (2, 1)))
    assert alone["moments.foreground.count"] == UPDATES * config.data.batch
    fitted = [name for name in alone if name.startswith(("mappings.", "moments."))]
    assert len(fitted) == 3 * (3 + 3)
    for name in fitted:
        assert torch.equal(shared[name], other[name])
        assert torch.allclose(alone[name], shared[name], rtol=1e-4, atol=1e-5), name


@pytest.mark.slow
def test_two_workers_of_cdd_end_with_the_weights_of_one(pairs_url: str, tmp_path: Path) -> None:
    """Its critics have an inner gradient, and its encoders are run several times an update."""
    config = cdd_config(pairs_url, tmp_path, "data.augment.flip=true", "loss.critic_updates=2")
    check_workers_are_one(config, tmp_path, 2)


@pytest.mark.slow
def test_two_workers_of_pix2pix_end_with_the_weights_of_one(pairs_url: str, tmp_path: Path) -> None:
    """With dropout, whose masks are each worker's part of the global batch's."""
    check_workers_are_one(pix2pix_config(pairs_url, tmp_path, "data.augment.flip=true"), tmp_path, 2)
