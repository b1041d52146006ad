"""Train as a Ray Train worker group."""

from __future__ import annotations

import logging
import math
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.sections import RunConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch.joining import fitted, join
from unbraid.trainers.launch.ray_internals import set_controller_timeouts
from unbraid.trainers.launch.worker import train_worker
from unbraid.trainers.runs.open import open_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from unbraid.datasets.store.lease import Lease
    from unbraid.trainers.loop import Listener


def train_on_ray(config: SystemConfig, address: str | None, listener: Listener, lease: Lease | None = None) -> None:
    """Train on the cluster at ``address``, or on a cluster that is started here for the run.

    A lost worker is replaced and the group continues from the newest checkpoint, ``run.max_failures`` times; with
    ``run.min_workers`` it continues with the workers that are left, and grows again. Ray Train's controller is replaced as
    often: each controller is one :class:`~unbraid.trainers.launch.supervision.Attempt`.

    Args:
        listener: called with each line of metrics that appears in the run's storage.
        lease: through which the run can be stopped from outside; None where no other launch could train this run.

    Raises:
        RunError: when the run ends before its budget; its cause is the workers' error where they have met one.
        ConfigError: when the cluster lacks the resources that are asked for.
    """
    import ray

    from unbraid.trainers.launch.supervision import Attempt, EndConditions, RunFollower, free_resources, record_lost_controller

    run = config.run
    assert run.name is not None
    cpus = require_cluster(config, address)
    store = open_run(run.storage, run.name)
    resources: dict[str, float] = {"CPU": cpus} | ({"GPU": run.gpus} if run.gpus else {})
    needed = {kind: number * (run.min_workers or run.workers) for kind, number in resources.items()}
    launch = uuid.uuid4().hex
    settings = {"config": config.model_dump(mode="json"), "launch": launch, "lease": lease.generation if lease else 0}
    follower = RunFollower(store, listener, lambda: free_resources(needed))
    conditions = EndConditions(store, launch, lease, None if run.wait_minutes is None else 60 * run.wait_minutes)
    owns_ray = threading.current_thread() is threading.main_thread()  # in a trial it is Tune's, which ends the workers
    for number in count(1):
        trainer = make_trainer(train_worker, settings, run, store, resources, f"ray-{launch[:8]}-{number}", launch)
        attempt = Attempt(trainer.fit, follower, conditions, run.name, owns_ray)
        attempt.run()
        if not attempt.lost_controller or follower.waiting or number > run.max_failures or not owns_ray:
            attempt.raise_error(config)
            return
        record_lost_controller(store, attempt.lost_controller)
        ray.shutdown()  # else the lost controller may keep its workers' resources until its job ends
        connect(address)


def require_cluster(config: SystemConfig, address: str | None) -> int:
    """Connect to a cluster, and check that it has the resources that a run asks for; writes nothing.

    Returns:
        CPUs of each worker, see :func:`cpus_per_worker`.

    Raises:
        ConfigError: naming what it lacks.
    """
    import ray

    run = config.run
    set_controller_timeouts(run.worker_timeout_seconds, None if run.min_workers is None else run.resize_seconds)
    connect(address)
    return fitted(lambda there: cpus_per_worker(config, there), ray.cluster_resources, address)


def connect(address: str | None) -> None:
    """Connect this process to the cluster at an address, or start a cluster here, see :func:`.joining.join`."""
    with _sigterm_handler_kept():
        join(address, logging_level=logging.WARNING, log_to_driver=True)


@contextmanager
def _sigterm_handler_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces: its own would end the driver before the workers have saved."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def make_trainer(
    worker: Callable[[Any], None],
    settings: Mapping[str, Any],
    run: RunConfig,
    store: Store,
    resources: Mapping[str, float],
    name: str,
    launch: str,
) -> Any:
    """Make a Ray Train trainer; its ``fit`` starts a controller, which starts the workers.

    Args:
        worker: run by each worker with ``settings``.
        resources: of each worker.
        launch: identifier of the launch.
        name: of the folder in the run's storage for Ray's own bookkeeping. Checkpoints are not Ray's, so that all ways of
            launching share them.
    """
    import ray.train
    import ray.train.torch

    from unbraid.trainers.launch.supervision import WorkerLossLog

    train: Any = ray.train  # its annotations are those of Ray Train V1, what runs is V2
    return train.torch.TorchTrainer(
        worker,
        train_loop_config=dict(settings),
        scaling_config=train.ScalingConfig(
            num_workers=run.workers if run.min_workers is None else (run.min_workers, run.workers),
            use_gpu=run.gpus > 0,
            resources_per_worker=dict(resources),
            elastic_resize_monitor_interval_s=run.resize_seconds,
        ),
        torch_config=train.torch.TorchConfig(
            backend="nccl" if run.gpus else "gloo", timeout_s=math.ceil(60 * run.collective_minutes)
        ),
        run_config=train.RunConfig(
            name=name,
            storage_path=store.url,
            failure_config=train.FailureConfig(max_failures=run.max_failures, controller_failure_limit=-1),
            callbacks=[WorkerLossLog(store.url, launch)],
        ),
    )


def cpus_per_worker(config: SystemConfig, available: Mapping[str, float]) -> int:
    """CPUs of each worker, which are also its threads: as configured, or an equal share of the cluster's.

    Args:
        available: resources of the whole cluster.

    Raises:
        ConfigError: when the cluster has fewer and ``run.wait_minutes`` is not set: Ray would wait for them for ever.
    """
    run = config.run
    cpus = run.cpus or max(int(available.get("CPU", 1)) // run.workers, 1)
    workers = run.min_workers or run.workers
    for kind, needed in {"CPU": cpus * workers, "GPU": run.gpus * workers}.items():
        if needed > available.get(kind, 0) and run.wait_minutes is None:
            raise ConfigError(
                f"run.workers={workers} need {needed:g} {kind}s, the cluster has {available.get(kind, 0):g}: lower run.workers "
                f"or run.{kind.lower()}s, use a larger cluster, or set run.wait_minutes for one that grows"
            )
    return cpus
