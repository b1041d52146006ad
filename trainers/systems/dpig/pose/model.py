"""The trained pose auto-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unbraid.models.dpig.embeddings import PoseAutoencoder
from unbraid.models.dpig.pose import keypoints_of, pose_vectors
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.systems.dpig.pose.config import Config
from unbraid.trainers.systems.dpig.pose.networks import new_pose_autoencoder


@dataclass(frozen=True)
class Model:
    """Poses to embeddings and back.

    Attributes:
        autoencoder: a moving average, in evaluation mode.
        size: (H, W) of the images in which keypoints are given.
    """

    autoencoder: PoseAutoencoder
    size: tuple[int, int]
    device: torch.device

    @torch.no_grad()
    def rebuild(self, keypoints: Tensor) -> Tensor:
        """(N, 18, 3) through the embedding and back."""
        return keypoints_of(self.autoencoder(pose_vectors(keypoints, self.size)), self.size)


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    autoencoder = new_pose_autoencoder(config).to(device)
    load_weights(autoencoder, networks, "autoencoder_ema")
    return Model(autoencoder, (config.networks.image.height, config.networks.image.width), device)
