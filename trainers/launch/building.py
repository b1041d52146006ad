"""Builds a run's system without its weights before the run is claimed: what cannot be built or stored is found in seconds."""

from __future__ import annotations

import torch

from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.measures.flops import meta_batch
from unbraid.trainers.runs.checkpoint import Checkpoints, expected_bytes
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import System, build_system


def check_system(config: SystemConfig, store: Store) -> None:
    """Build a system on torch's meta device, make one update there, and see that its checkpoints fit into the storage.

    Args:
        store: of the run, which need not be there yet.

    Raises:
        ConfigError: when a network, an optimiser or the first update refuses the configuration.
        CheckpointError: when the disk is too small.
    """
    try:
        system = build_system(config, torch.device("meta"), World())
    except ConfigError:
        raise
    except Exception as error:  # whatever torch raises for sizes and settings that it refuses
        raise ConfigError(f"{config.system} cannot be built from this configuration: {in_one_line(error, 300)}") from error
    Checkpoints(store, config.run.keep_checkpoints).require_space(expected_bytes(system))
    _try_update(config, system)


def _try_update(config: SystemConfig, system: System) -> None:
    """Make an update without its arithmetic, where images have a known size."""
    if any(field.shape is None for field in config.training_fields().values()):
        return
    try:
        system.step(meta_batch(config))
    except ConfigError:
        raise
    except Exception as error:
        if isinstance(error, NotImplementedError) or "meta tensor" in str(error):  # torch raises the one or the other
            return  # a system that reads a number off the device in its update, which says nothing about the configuration
        raise ConfigError(
            f"{config.system} cannot make an update of this configuration: {in_one_line(error, 300)}; layers, image and batch "
            "have to fit each other"
        ) from error
