"""Ways to start the one training function: in this process, or as a Ray Train worker group."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from datasets.errors import DataError
from datasets.index import read_index
from datasets.order import Order
from datasets.store import Store, open_store
from trainers.config import SystemConfig, load
from trainers.errors import CheckpointError, ConfigError, DivergenceError, RunError
from trainers.record import claim_run, open_run, read_metrics, read_run, run_status, write_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from trainers.loop import Listener

FAILURE_KEY = "failure.json"
FATAL = (DataError, ConfigError, CheckpointError, DivergenceError)
"""Errors that a repetition would meet again; a run that they end raises a :class:`RunError` of which they are the cause."""


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
    lacking = [name for name in config.needs_fields if name not in index.fields]
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


def train_here(config: SystemConfig, listener: Listener) -> None:
    """Train in this process, without Ray: one worker, breakpoints work.

    Raises:
        ConfigError: when the configuration asks for several workers.
    """
    import torch

    from trainers.distributed import World
    from trainers.loop import train

    if config.run.workers != 1:
        raise ConfigError(
            f"run.workers={config.run.workers}: --debug trains in this process alone; leave it out or use run.workers=1"
        )
    assert config.run.name is not None
    torch.set_num_threads(config.run.cpus or os.cpu_count() or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = open_run(config.run.storage, config.run.name)
    with _fatal_errors():
        train(config, store, World(), device, listener)


def train_on_ray(config: SystemConfig, address: str | None, listener: Listener) -> None:
    """Train as a Ray Train worker group on the cluster at ``address``, or on one started here for the run.

    A lost worker is replaced and the group goes on from the newest checkpoint, ``run.max_failures`` times.

    Raises:
        RunError: with the workers' own error.
        ConfigError: when the cluster lacks the resources asked for.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    assert config.run.name is not None
    ray.init(address=address or "local", logging_level=logging.WARNING, log_to_driver=True, ignore_reinit_error=True)
    store = open_run(config.run.storage, config.run.name)
    workers = config.run.workers
    cpus = _cpus_a_worker(config, ray.cluster_resources())
    resources: dict[str, float] = {"CPU": cpus} | ({"GPU": config.run.gpus} if config.run.gpus else {})
    launch = uuid.uuid4().hex
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"config": config.model_dump(mode="json"), "launch": launch},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=config.run.gpus > 0, resources_per_worker=resources),
        torch_config=TorchConfig(backend="nccl" if config.run.gpus else "gloo"),
        run_config=RunConfig(
            # Ray's own folder holds its bookkeeping only: checkpoints are ours, so that all ways of launching share them
            name=f"ray-{launch[:8]}",
            storage_path=store.url,
            failure_config=FailureConfig(max_failures=config.run.max_failures),
        ),
    )
    with _followed(store, listener):
        try:
            trainer.fit()
        except (TrainingFailedError, ray.exceptions.RayError) as error:
            raise RunError(_last_words(error, config)) from error
    failure = _read_failure(store, launch)
    if failure is not None:
        raise RunError(str(failure)) from failure


def train_worker(settings: Mapping[str, Any]) -> None:
    """What one Ray Train worker does: the same training as :func:`train_here`, on its rank's share."""
    import ray.train
    import ray.train.torch
    import torch

    from trainers.distributed import World
    from trainers.loop import train
    from trainers.telemetry import RayMetrics

    config = load(settings["config"])
    assert config.run.name is not None
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    store = open_run(config.run.storage, config.run.name)
    if _read_failure(store, settings["launch"]) is not None:
        return  # the same would only happen again
    device: torch.device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(int(_assigned_cpus()), 1))
    try:
        with _fatal_errors():
            train(config, store, world, device, RayMetrics(config.run.name))
    except RunError as error:
        failure = {"launch": settings["launch"], "kind": type(error.__cause__).__name__, "message": str(error)}
        store.put(FAILURE_KEY, json.dumps(failure).encode())


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


def _cpus_a_worker(config: SystemConfig, there: Mapping[str, float]) -> int:
    """CPUs of each worker, and so its threads: as asked, or an equal share of the cluster's.

    Raises:
        ConfigError: when the cluster has fewer: Ray would wait for more for ever.
    """
    run = config.run
    cpus = run.cpus or max(int(there.get("CPU", 1)) // run.workers, 1)
    wanted = {"CPU": cpus * run.workers, "GPU": run.gpus * run.workers}
    for kind, count in wanted.items():
        if count > there.get(kind, 0):
            raise ConfigError(
                f"run.workers={run.workers} need {count:g} {kind}s, the cluster has {there.get(kind, 0):g}: "
                f"lower run.workers or run.{kind.lower()}s, or use a larger cluster"
            )
    return cpus


def _read_failure(store: Store, launch: str) -> Exception | None:
    """The error that ended a worker of this launch for good, if one did."""
    if not store.exists(FAILURE_KEY):
        return None
    failure = json.loads(store.get(FAILURE_KEY))
    if failure["launch"] != launch:
        return None
    kind = next(kind for kind in FATAL if kind.__name__ == failure["kind"])
    return kind(failure["message"])


def _last_words(error: BaseException, config: SystemConfig) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (
        f"run {config.run.name} was lost after {config.run.max_failures} replacements of its workers: "
        f"{lines[-1] if lines else type(error).__name__}\nRepeat the command to go on from its newest checkpoint."
    )


@contextmanager
def _followed(store: Store, listener: Listener) -> Iterator[None]:
    """Show the run's metrics as they appear in its storage, until the block ends."""
    seen = len(read_metrics(store))
    done = threading.Event()

    def follow() -> None:
        nonlocal seen
        while True:
            ending = done.wait(2.0)
            try:
                lines = read_metrics(store)
            except DataError:
                lines = []
            if len(lines) < seen:  # a replaced worker group went back to its checkpoint
                seen = len(lines)
            for line in lines[seen:]:
                listener(line)
            seen = max(seen, len(lines))
            if ending:
                return

    thread = threading.Thread(target=follow, name="follow-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def run_failed(store: Store, error: Exception) -> None:
    """Note in the record that the run stands still, and why."""
    write_run(store, {"status": "failed", "message": str(error), "ended": time.time()})
