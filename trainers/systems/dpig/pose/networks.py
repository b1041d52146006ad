"""The pose auto-encoder as measures, pictures and stage II use it: frozen, in evaluation mode."""

import torch

from unbraid.datasets.store import Store
from unbraid.models.dpig.embeddings import PoseAutoencoder
from unbraid.trainers.runs.checkpoint import load_weights, newest_networks
from unbraid.trainers.systems.dpig.networks import frozen
from unbraid.trainers.systems.dpig.pose.config import Config


def new_pose_autoencoder(config: Config) -> PoseAutoencoder:
    """Build an auto-encoder with fresh weights."""
    return frozen(PoseAutoencoder(config.networks.pose))


def load_pose_autoencoder(store: Store, config: Config, device: torch.device) -> PoseAutoencoder:
    """Load the moving average from a run's newest checkpoint."""
    autoencoder = new_pose_autoencoder(config).to(device)
    load_weights(autoencoder, newest_networks(store), "autoencoder_ema")
    return autoencoder
