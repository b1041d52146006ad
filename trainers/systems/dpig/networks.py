"""Networks of stage I as measures, pictures and stage II use them: frozen, in evaluation mode."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from unbraid.datasets.store import Store
from unbraid.models.dpig.embeddings import PoseAutoencoder
from unbraid.models.dpig.generator import Generator
from unbraid.trainers.runs.checkpoint import load_weights, newest_networks
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig

Network = TypeVar("Network", bound=nn.Module)


def new_generator(config: AppearanceConfig) -> Generator:
    """Of first weights."""
    sizes = config.networks
    return frozen(Generator(sizes.encoder, sizes.decoder, sizes.drawing, sizes.image))


def new_pose_autoencoder(config: PoseConfig) -> PoseAutoencoder:
    """Of first weights."""
    return frozen(PoseAutoencoder(config.networks.pose))


def load_generator(store: Store, config: AppearanceConfig, device: torch.device) -> Generator:
    """The moving average in a run's newest checkpoint."""
    generator = new_generator(config).to(device)
    load_weights(generator, newest_networks(store), "generator_ema")
    return generator


def load_pose_autoencoder(store: Store, config: PoseConfig, device: torch.device) -> PoseAutoencoder:
    """The moving average in a run's newest checkpoint."""
    autoencoder = new_pose_autoencoder(config).to(device)
    load_weights(autoencoder, newest_networks(store), "autoencoder_ema")
    return autoencoder


def frozen(network: Network) -> Network:
    """The network itself, without gradients and in evaluation mode."""
    return network.requires_grad_(False).eval()
