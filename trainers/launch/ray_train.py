"""Ways to start the one training function: in this process, or as a Ray Train worker group."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.stream.order import Order
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import FATAL, ConfigError, DivergenceError, RunError, StoppedError, SupersededError
from unbraid.trainers.runs.lease import Lease
from unbraid.trainers.runs.monitor import RunMonitor
from unbraid.trainers.runs.open import claim_run, open_run
from unbraid.trainers.runs.record import Status, read_run, run_status, write_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    from unbraid.trainers.loop import Listener


def preflight(config: SystemConfig, command: str) -> Store:
    """See that a run can be trained before anything heavy starts: data set, order, storage, earlier configuration.

    Raises:
        ConfigError, DataError: naming what is wrong.
    """
    inputs = check_inputs(config)
    return claim_run(config, command, inputs)  # last, so that a mistake leaves no trace


def check_inputs(config: SystemConfig) -> dict[str, SystemConfig]:
    """See that data and earlier runs are there and fit; nothing is written.

    Returns:
        The configurations of the runs that it starts from.

    Raises:
        ConfigError, DataError: naming what is wrong.
    """
    data = config.data
    index = read_index(open_store(data.url))
    index.shards(data.evaluation_split)
    lacking = [name for name in config.training_fields() if name not in index.fields]
    if lacking:
        raise ConfigError(
            f"data.url: the samples at {data.url} have no {' and no '.join(lacking)} (only {', '.join(index.fields)}), which "
            f"{config.system} needs: name another set, or pack this one with them (see `unbraid data pack --help`)"
        )
    try:
        Order(tuple(s.count for s in index.shards(data.split)), data.batch, data.lanes, data.window, config.run.seed)
    except ValueError as error:
        raise DataError(f"{data.url}: {error}") from None
    expected = config.image_shape
    for name, shape in index.image_shapes.items():
        if expected is not None and shape != expected:
            raise ConfigError(
                f"networks.image: {expected} does not fit the {name}s at {data.url}, which are {shape or 'of several sizes'}: "
                "choose the preset for this data set, set networks.image, or pack the set with --size"
            )
    return config.require_inputs()


def is_finished(config: SystemConfig, store: Store) -> bool:
    """Whether the run has already reached the budget that is asked for."""
    return run_status(store) == "finished" and read_run(store)["step"] >= config.run.updates


def train_here(config: SystemConfig, listener: Listener, lease: Lease | None = None) -> None:
    """Train in this process, without Ray: one worker, breakpoints work.

    Args:
        lease: through which it can be stopped from outside; None where nobody else could train this run.

    Raises:
        ConfigError: when the configuration asks for several workers.
        RunError: when it ends before its budget.
    """
    import torch

    from unbraid.trainers.loop import train
    from unbraid.trainers.step.distributed import World

    if config.run.workers != 1:
        raise ConfigError(
            f"run.workers={config.run.workers}: --debug trains in this process alone; leave it out or use run.workers=1"
        )
    assert config.run.name is not None
    torch.set_num_threads(config.run.cpus or os.cpu_count() or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = open_run(config.run.storage, config.run.name, patience=60 * config.run.storage_retry_minutes)
    with _fatal_errors():
        train(config, store, World(), device, listener, RunMonitor(store, lease.generation if lease else 0))


def train_on_ray(config: SystemConfig, address: str | None, listener: Listener, lease: Lease | None = None) -> None:
    """Train as a Ray Train worker group on the cluster at ``address``, or on one started here for the run.

    A lost worker is replaced and the group goes on from the newest checkpoint, ``run.max_failures`` times; with
    ``run.min_workers`` it goes on with those that are left, and grows again. Ray Train's controller is replaced as often.

    Args:
        lease: through which it can be stopped from outside; None where nobody else could train this run.

    Raises:
        RunError: with the workers' own error, or when it ends otherwise before its budget.
        ConfigError: when the cluster lacks the resources asked for.
    """
    import ray

    from unbraid.trainers.launch.supervision import FOLLOW_SECONDS, Ending, Fit, Follower, free_resources, note_lost_controller
    from unbraid.trainers.runs.telemetry import RayMetrics

    run = config.run
    assert run.name is not None
    os.environ.update(_controller_settings(config))
    _connect(address)
    store = open_run(run.storage, run.name)
    cpus = cpus_a_worker(config, ray.cluster_resources())
    resources: dict[str, float] = {"CPU": cpus} | ({"GPU": run.gpus} if run.gpus else {})
    launch = uuid.uuid4().hex
    settings = {"config": config.model_dump(mode="json"), "launch": launch, "lease": lease.generation if lease else 0}
    wanted = {kind: count * (run.min_workers or run.workers) for kind, count in resources.items()}
    follow = Follower(store, listener, lambda: free_resources(wanted))
    ending = Ending(store, launch, lease, None if run.wait_minutes is None else 60 * run.wait_minutes)
    is_own = threading.current_thread() is threading.main_thread()  # a trial's is Tune's, which ends it and its workers
    for number in count(1):
        fit = Fit(_trainer(config, store, settings, resources, number).fit)
        try:
            with RayMetrics(run.name) as metrics:
                while not fit.wait(FOLLOW_SECONDS):
                    follow()
                    metrics({"run/silence_seconds": follow.silence, "run/waiting": follow.waiting})
                    ending.raise_if_over(fit, follow.waited)
            follow()
            ending.raise_if_over(fit, 0)
            if fit.lost_controller is None or follow.waiting or number > run.max_failures or not is_own:
                fit.raise_error(config)
                return
        finally:
            if not fit.wait(0) and is_own:
                ray.shutdown()  # which ends the workers
        note_lost_controller(store, fit.lost_controller)
        ray.shutdown()  # the controller may stay, and hold its workers' resources, as long as its job
        _connect(address)


def _connect(address: str | None) -> None:
    import ray

    with _kept_sigterm():
        ray.init(address=address or "local", logging_level=logging.WARNING, log_to_driver=True, ignore_reinit_error=True)


def _trainer(
    config: SystemConfig, store: Store, settings: Mapping[str, Any], resources: Mapping[str, float], number: int
) -> TorchTrainer:
    """Ray Train's trainer, whose controller is the one of that number in this launch."""
    from ray.train.torch import TorchConfig
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig  # what ray.train gives, with its types
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    from unbraid.trainers.launch.supervision import Losses

    run = config.run
    return TorchTrainer(
        train_worker,
        train_loop_config=dict(settings),
        scaling_config=ScalingConfig(
            num_workers=run.workers if run.min_workers is None else (run.min_workers, run.workers),
            use_gpu=run.gpus > 0,
            resources_per_worker=dict(resources),
            elastic_resize_monitor_interval_s=run.resize_seconds,
        ),
        torch_config=TorchConfig(backend="nccl" if run.gpus else "gloo"),
        run_config=RunConfig(
            # Ray's own folder holds its bookkeeping only: checkpoints are ours, so that all ways of launching share them
            name=f"ray-{settings['launch'][:8]}-{number}",
            storage_path=store.url,
            failure_config=FailureConfig(max_failures=run.max_failures, controller_failure_limit=-1),
            callbacks=[Losses(store.url)],
        ),
    )


def _controller_settings(config: SystemConfig) -> dict[str, str]:
    """How soon Ray Train's controller, to which Ray hands these on, gives up what it waits for."""
    run = config.run
    settings = {
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": f"{run.worker_timeout_seconds:g}",
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    }
    if run.min_workers is not None:
        # Ray still counts the resources of a node that has just gone, waits for a group of that size, and then looks again
        settings["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = f"{min(max(run.resize_seconds, 10), 60):g}"
    return settings


@contextmanager
def _kept_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it is initialised, and would end the driver without a word to the workers."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def train_worker(settings: Mapping[str, Any]) -> None:
    """What one Ray Train worker does: the same training as :func:`train_here`, on its rank's share."""
    import ray.train
    import ray.train.torch
    import torch

    from unbraid.trainers.launch.supervision import node_notice, read_failure, write_failure
    from unbraid.trainers.loop import train
    from unbraid.trainers.runs.telemetry import RayMetrics
    from unbraid.trainers.step.distributed import World

    config = load_config(settings["config"])
    assert config.run.name is not None
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size(), config.data.lanes)
    store = open_run(config.run.storage, config.run.name, patience=60 * config.run.storage_retry_minutes)
    if read_failure(store, settings["launch"]) is not None:
        return  # the same would only happen again
    device: torch.device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(int(_assigned_cpus()), 1))
    with RayMetrics(config.run.name, world.rank) as metrics:
        metrics({"run/updates": config.run.updates, "run/diverged": 0})
        try:
            with _fatal_errors():
                train(config, store, world, device, metrics, RunMonitor(store, settings["lease"], node_notice))
        except RunError as error:
            if isinstance(error.__cause__, DivergenceError):
                metrics({"run/diverged": 1})
            write_failure(store, settings["launch"], error)


@contextmanager
def _fatal_errors() -> Iterator[None]:
    """Errors that a repetition would meet again end the run; all others are for Ray Train to survive."""
    try:
        yield
    except FATAL as error:
        raise RunError(str(error)) from error


def _assigned_cpus() -> float:
    import ray

    return float(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))


def cpus_a_worker(config: SystemConfig, there: Mapping[str, float]) -> int:
    """CPUs of each worker, and so its threads: as asked, or an equal share of the cluster's.

    Raises:
        ConfigError: when the cluster has fewer: Ray would wait for more for ever.
    """
    run = config.run
    cpus = run.cpus or max(int(there.get("CPU", 1)) // run.workers, 1)
    workers = run.min_workers or run.workers
    for kind, needed in {"CPU": cpus * workers, "GPU": run.gpus * workers}.items():
        if needed > there.get(kind, 0) and run.wait_minutes is None:
            raise ConfigError(
                f"run.workers={workers} need {needed:g} {kind}s, the cluster has {there.get(kind, 0):g}: lower run.workers or "
                f"run.{kind.lower()}s, use a larger cluster, or set run.wait_minutes for one that grows"
            )
    return cpus


def run_ended(store: Store, error: Exception) -> None:
    """Note in the record that the run stands still, and why; unless another launch trains it, whose record that is."""
    if isinstance(error.__cause__, SupersededError):
        return
    status: Status = "stopped" if isinstance(error.__cause__, StoppedError) else "failed"
    write_run(store, {"status": status, "message": str(error), "ended": time.time()})
