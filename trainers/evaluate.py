"""Measuring a stored checkpoint again."""

import torch

from unbraid.datasets.store import Store
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.loop import evaluate
from unbraid.trainers.runs.checkpoint import Checkpoints, load_system_state
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_config
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import System, build_system


def evaluate_run(storage: str, name: str, step: int | None) -> dict[str, float]:
    """The measures of a run's checkpoint, on this process's device.

    Args:
        step: of the checkpoint; None is the newest.

    Raises:
        DataError: when there is no such run.
        CheckpointError: when it has no such checkpoint.
    """
    store = open_run(storage, name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    system = load_system(store, device, step)
    return {"step": system.updates, **evaluate(system, read_config(store), device)}


def load_system(store: Store, device: torch.device, step: int | None = None) -> System:
    """A run's system as it was at a checkpoint, by default the newest.

    Raises:
        CheckpointError: when it has no such checkpoint.
    """
    config = read_config(store)
    state = Checkpoints(store, config.run.keep_checkpoints).load(step)
    if state is None:
        raise CheckpointError(f"{store.url}: no checkpoint yet; train the run first")
    system = build_system(config, device, World())
    load_system_state(system, state)
    return system
