"""Measuring and loading what a run has learnt, from its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch

from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import CheckpointError, ConfigError
from unbraid.trainers.runs.checkpoint import Checkpoints, networks_of
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.record import INPUTS, read_config
from unbraid.trainers.system import Model, evaluate, load_model


def evaluate_run(
    storage: str, reference: str, step: int | None, split: str | None = None, whole: bool = False
) -> dict[str, float]:
    """The measures of a run's checkpoint, on this process's device.

    Args:
        reference: name of a run in ``storage``, or its folder or URL.
        step: of the checkpoint; None is the newest.
        split: to measure; None is the one that the run reports.
        whole: see :class:`unbraid.trainers.data.EvaluationData`.

    Raises:
        ConfigError: when there is no such run.
        DataError: when its set has no such split.
        CheckpointError: when it has no such checkpoint.
    """
    store = find_run(reference, storage)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = read_config(store)
    model, updates = read_model(store, device, step)
    data = EvaluationData(config, device, split or config.data.reported_split, whole=whole)
    return {"step": updates, **evaluate(config, model, data)}


@dataclass(frozen=True)
class Learnt:
    """What a checkpoint holds of a model.

    Attributes:
        networks: state dicts by name.
        inputs: configurations of the runs that the run started from, by name.
        updates: made until then.
    """

    networks: Mapping[str, Any]
    inputs: dict[str, SystemConfig]
    updates: int


def read_learnt(store: Store, step: int | None = None) -> Learnt:
    """What a run's checkpoint holds of its model, by default the newest whole one.

    Raises:
        CheckpointError: when there is no such checkpoint, or it is damaged.
    """
    state = Checkpoints(store, keep=1).load(step)
    if state is None:
        raise CheckpointError(f"{store.url}: no checkpoint yet; train the run first")
    inputs = {PurePosixPath(key).stem: read_config(store, key) for key in store.keys(INPUTS)}
    return Learnt(networks_of(state), inputs, int(state.get("updates", 0)))


def read_model(store: Store, device: torch.device, step: int | None = None) -> tuple[Model, int]:
    """A run's model as it was at a checkpoint, by default the newest whole one, and the updates that it had made.

    Raises:
        DataError: when there is no run in the store.
        CheckpointError: when it has no such checkpoint, it is damaged, or one of networks of other sizes.
    """
    config = read_config(store)  # first: without it there is no run
    learnt = read_learnt(store, step)
    return load_model(config, learnt.networks, learnt.inputs, device), learnt.updates


def open_model(reference: str, storage: str, device: torch.device, systems: Sequence[str] = ()) -> tuple[Any, SystemConfig]:
    """The model of a run's newest checkpoint, to be used, and the run's configuration.

    Args:
        reference: name of a run in ``storage``, or its folder or URL.
        systems: that the run may be of; empty means any.

    Returns:
        The model of that system (each has a class of its own), and the configuration.

    Raises:
        ConfigError: when there is no such run, or it is of another system.
        CheckpointError: when it has no checkpoint yet, or one of networks of other sizes.
    """
    store = find_run(reference, storage)
    config = read_config(store)
    if systems and config.system not in systems:
        raise ConfigError(f"{reference}: is a run of {config.system}; name a run of {' or '.join(systems)}")
    model, _ = read_model(store, device)
    return model, config
