"""A trained auto-encoder of strokes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unbraid.models.tally.networks import Autoencoder
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.systems.tally.config import Config


@dataclass(frozen=True)
class Model:
    """The moving average of the auto-encoder."""

    autoencoder: Autoencoder
    device: torch.device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] → style (B, style)."""
        return self.autoencoder.encode(images)

    @torch.no_grad()
    def decode(self, style: Tensor, counts: Tensor) -> Tensor:
        """Style (B, style) and counts (B,) → images (B, C, H, W) in [-1, 1]."""
        return self.autoencoder.decode(style, counts)


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """Build the model that a checkpoint holds, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    autoencoder = Autoencoder(config.networks.autoencoder, config.networks.image).to(device).requires_grad_(False).eval()
    load_weights(autoencoder, networks, "autoencoder_ema")
    return Model(autoencoder, device)
