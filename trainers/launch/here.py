"""Train in this process, without Ray."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError, fatal_as_run_error
from unbraid.trainers.runs.monitor import RunMonitor
from unbraid.trainers.runs.open import open_run

if TYPE_CHECKING:
    from unbraid.datasets.store.lease import Lease
    from unbraid.trainers.loop import Listener


def require_one_worker(config: SystemConfig) -> None:
    """Check that a run can be trained in one process.

    Raises:
        ConfigError: when the configuration asks for several workers.
    """
    if config.run.workers != 1:
        raise ConfigError(
            f"run.workers={config.run.workers}: --debug trains in this process alone; leave it out or use run.workers=1"
        )


def train_here(config: SystemConfig, listener: Listener, lease: Lease | None = None) -> None:
    """Train in this process: one worker, and breakpoints work.

    Args:
        listener: called with each line of metrics.
        lease: through which the run can be stopped from outside; None where no other launch could train this run.

    Raises:
        ConfigError: when the configuration asks for several workers.
        RunError: when the run ends before its budget; its cause is the error.
    """
    import torch

    from unbraid.trainers.loop import train
    from unbraid.trainers.step.distributed import World

    require_one_worker(config)
    assert config.run.name is not None
    torch.set_num_threads(config.run.cpus or os.cpu_count() or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = open_run(config.run.storage, config.run.name, retry_seconds=60 * config.run.storage_retry_minutes)
    with fatal_as_run_error():
        train(config, store, World(), device, listener, RunMonitor(store, lease.generation if lease else 0))
