"""Measuring a stored checkpoint again."""

import torch

from trainers.checkpoint import Checkpoints, load_system_state
from trainers.distributed import World
from trainers.errors import CheckpointError
from trainers.loop import evaluate
from trainers.record import open_run, read_config
from trainers.system import build_system


def evaluate_run(storage: str, name: str, step: int | None) -> dict[str, float]:
    """The measures of a run's checkpoint, on this process's device.

    Args:
        step: of the checkpoint; None is the newest.

    Raises:
        DataError: when there is no such run.
        CheckpointError: when it has no such checkpoint.
    """
    store = open_run(storage, name)
    config = read_config(store)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = Checkpoints(store, config.run.keep_checkpoints).load(step)
    if state is None:
        raise CheckpointError(f"{store.url}: no checkpoint yet; train the run first")
    system = build_system(config, device, World())
    load_system_state(system, state)
    return {"step": system.updates, **evaluate(system, config, device)}
