"""What each Ray Train worker runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import DivergenceError, RunError, fatal_as_run_error
from unbraid.trainers.launch.failure import read_failure, write_failure
from unbraid.trainers.launch.ray_internals import preemption_deadline
from unbraid.trainers.runs.monitor import RunMonitor
from unbraid.trainers.runs.open import open_run


def train_worker(settings: Mapping[str, Any]) -> None:
    """Train as one rank of a Ray Train worker group: the same training as in one process, on this rank's share.

    An error that would happen again is written to the run's storage for the driver, and this function returns. Any other error
    is left to Ray Train, which replaces the worker group.

    Args:
        settings: ``config``, the resolved configuration; ``launch``, the identifier of the launch; ``lease``, its generation.
    """
    import ray
    import ray.train
    import ray.train.torch
    import torch

    from unbraid.trainers.loop import train
    from unbraid.trainers.runs.telemetry import RayMetrics
    from unbraid.trainers.step.distributed import World

    config = load_config(settings["config"])
    assert config.run.name is not None
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size(), config.data.lanes)
    store = open_run(config.run.storage, config.run.name, retry_seconds=60 * config.run.storage_retry_minutes)
    if read_failure(store, settings["launch"]) is not None:
        return  # another worker of this launch has met an error that would happen again
    device: torch.device = ray.train.torch.get_device()
    if device.type == "cpu":
        cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
        torch.set_num_threads(max(int(cpus), 1))
    with RayMetrics(config.run.name, world.rank) as metrics:
        metrics({"run/updates": config.run.updates, "run/diverged": 0})
        try:
            with fatal_as_run_error():
                train(config, store, world, device, metrics, RunMonitor(store, settings["lease"], preemption_deadline))
        except RunError as error:
            if isinstance(error.__cause__, DivergenceError):
                metrics({"run/diverged": 1})
            write_failure(store, settings["launch"], error)
