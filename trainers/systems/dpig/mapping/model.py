"""Both stages as a model to use: images to factors and back, noise to factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbraid.models.dpig.embeddings import NoiseMappings
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.appearance.networks import new_generator
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.networks import frozen
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.pose.networks import new_pose_autoencoder


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`.

    Stage I is as it was when stage II began: its runs may have gone on since, or have been deleted.
    """
    appearance, pose = inputs["appearance"], inputs["pose"]
    assert isinstance(config, Config)
    assert isinstance(appearance, AppearanceConfig)
    assert isinstance(pose, PoseConfig)
    generator, autoencoder = new_generator(appearance).to(device), new_pose_autoencoder(pose).to(device)
    widths = config.widths(appearance, pose)
    mappings = frozen(NoiseMappings(config.mapping_specs, widths, config.is_correlated).to(device))
    stored = "mappings" if config.kind == "gaussian" else "mappings_ema"
    named = ((generator, "generator"), (autoencoder, "pose_autoencoder"), (mappings, stored))
    for network, name in named:
        load_weights(network, networks, name)
    return Model(appearance.networks.image, generator, autoencoder, mappings.as_dict(), config.input_std, device)
