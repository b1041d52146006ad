"""Runs of stage I as what stage II starts from, and runs of either stage as a model to use."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.models.dpig.embeddings import Mappings, PoseAutoencoder
from unbraid.models.dpig.generator import Painter
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.checkpoint import load_weights, newest_networks
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.record import input_key, read_config
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.mapping.config import Config as MappingConfig
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig

Network = TypeVar("Network", bound=nn.Module)


def read_stage(reference: str, storage: str) -> tuple[Store, SystemConfig]:
    """Store and configuration of a run.

    Raises:
        ConfigError: when there is none.
    """
    try:
        store = find_run(reference, storage)
        return store, read_config(store)
    except DataError:
        raise ConfigError(
            f"no run {reference!r} in {storage}: train stage I first (`unbraid train dpig-…` does all stages in order), "
            "or name its run, folder or s3:// URL"
        ) from None


def load_painter(store: Store, config: AppearanceConfig, device: torch.device) -> Painter:
    """The averaged painter of a run of stage I, frozen."""
    painter = new_painter(config).to(device)
    load_weights(painter, newest_networks(store), "painter_average")
    return painter


def load_poses(store: Store, config: PoseConfig, device: torch.device) -> PoseAutoencoder:
    """The averaged pose auto-encoder of a run, frozen."""
    poses = new_poses(config).to(device)
    load_weights(poses, newest_networks(store), "autoencoder_average")
    return poses


def new_painter(config: AppearanceConfig) -> Painter:
    """Untrained, frozen, in evaluation mode."""
    sizes = config.networks
    return _frozen(Painter(sizes.encoder, sizes.decoder, sizes.drawing, sizes.image))


def new_poses(config: PoseConfig) -> PoseAutoencoder:
    """Untrained, frozen, in evaluation mode."""
    return _frozen(PoseAutoencoder(config.networks.pose))


def load_model(reference: str, storage: str, device: torch.device) -> tuple[Model, AppearanceConfig]:
    """The model of a run of stage II (all of it) or of stage I's appearance, and the configuration of its appearance.

    Raises:
        ConfigError: when the run is of another kind.
    """
    store, config = read_stage(reference, storage)
    if isinstance(config, AppearanceConfig):
        return Model(config.networks.image, load_painter(store, config, device), device=device), config
    if not isinstance(config, MappingConfig):
        raise ConfigError(f"{reference}: is a run of {config.system}; name one of dpig.appearance or dpig.mapping")
    # stage I as it was when stage II began: its runs may have gone on since, or be gone
    appearance, pose = (read_config(store, input_key(name)) for name in ("appearance", "pose"))
    assert isinstance(appearance, AppearanceConfig)
    assert isinstance(pose, PoseConfig)
    weights = newest_networks(store)
    painter, poses = new_painter(appearance).to(device), new_poses(pose).to(device)
    mappings = _frozen(Mappings(config.mapping_specs, config.widths(appearance, pose)).to(device))
    for network, name in ((painter, "painter"), (poses, "poses"), (mappings, "mappings_average")):
        load_weights(network, weights, name)
    model = Model(appearance.networks.image, painter, poses, mappings.as_dict(), config.noise_std, device)
    return model, appearance


def _frozen(network: Network) -> Network:
    return network.requires_grad_(False).eval()
