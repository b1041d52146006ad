"""How far two auto-encoders of strokes agree."""

import torch

from unbraid.models.random import RandomSource
from unbraid.trainers.systems.tally.model import Model

DRAWN = 64


@torch.no_grad()
def agreement(reader: Model, drawer: Model) -> float:
    """Return how near the reader's rebuilt images come to the drawer's, in [0, 1]."""
    source = RandomSource(0, drawer.device)
    style = source.normal(DRAWN, drawer.autoencoder.style.in_features)
    counts = torch.arange(DRAWN, device=drawer.device) % drawer.autoencoder.counts.num_embeddings
    images = drawer.decode(style, counts)
    return 1 - (reader.decode(reader.encode(images), counts) - images).abs().mean().item() / 2
