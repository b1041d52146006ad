"""Stage I as a model to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.systems.dpig.appearance.config import Config
from unbraid.trainers.systems.dpig.appearance.networks import new_generator
from unbraid.trainers.systems.dpig.model import Model


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    generator = new_generator(config).to(device)
    load_weights(generator, networks, "generator_ema")
    return Model(config.networks.image, generator, device=device)
