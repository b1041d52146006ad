"""The generator of stage I as measures, pictures and stage II use it: frozen, in evaluation mode."""

import torch

from unbraid.datasets.store import Store
from unbraid.models.dpig.generator import Generator
from unbraid.trainers.runs.checkpoint import load_weights, newest_networks
from unbraid.trainers.systems.dpig.appearance.config import Config
from unbraid.trainers.systems.dpig.networks import frozen


def new_generator(config: Config) -> Generator:
    """Build a generator with fresh weights."""
    sizes = config.networks
    return frozen(Generator(sizes.encoder, sizes.decoder, sizes.drawing, sizes.image))


def load_generator(store: Store, config: Config, device: torch.device) -> Generator:
    """Load the moving average from a run's newest checkpoint."""
    generator = new_generator(config).to(device)
    load_weights(generator, newest_networks(store), "generator_ema")
    return generator
