"""Trains the reader on some people, and measures whom it finds among others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unbraid.models.augment import random_flip, random_shift
from unbraid.models.random import RandomSource
from unbraid.models.reidentification import IdentityClassifier
from unbraid.trainers.measures.reidentification import reidentification_scores
from unbraid.trainers.reidentification.identities import IdentityImages
from unbraid.trainers.reidentification.trial import Trial
from unbraid.trainers.step.images import normalised

FEATURES_BATCH = 256
SHIFT = 1 / 16
"""Random crops are moved by this share of the image's height and width at most."""
WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class Learning:
    """How a reader is trained.

    Attributes:
        rate: of Adam at first; it falls to 0 with the cosine.
        width: channels of the network's first stage.
    """

    epochs: int = 40
    batch: int = 64
    rate: float = 2e-3
    width: int = 32
    seed: int = 0


def new_reader(identities: int, learning: Learning, device: torch.device) -> IdentityClassifier:
    """A network with fresh weights, which depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(learning.seed)
        return IdentityClassifier(identities, learning.width).to(device)


def train_reader(reader: IdentityClassifier, people: IdentityImages, learning: Learning, report: Callable[[str], None]) -> None:
    """Train a network to name the people of a set; images are mirrored and cropped at random.

    Args:
        people: junk and distractors among them are not learnt from.
        report: takes a line after each epoch.
    """
    device = reader.classifier.weight.device
    rows = (people.seen.person >= 0).nonzero()[:, 0]
    _, labels = people.seen.person[rows].unique(return_inverse=True)
    size = min(learning.batch, len(rows))
    batches = len(rows) // size
    adam = torch.optim.AdamW(reader.parameters(), learning.rate, weight_decay=WEIGHT_DECAY)
    source = RandomSource(learning.seed, device)
    rows_moved, columns_moved = (max(1, round(SHIFT * side)) for side in people.images.shape[2:])
    reader.train()
    for epoch in range(learning.epochs):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed((learning.seed << 20) + epoch))
        losses, hits = [], []
        for i, chosen in enumerate(order.split(size)[:batches]):
            update = epoch * batches + i
            for group in adam.param_groups:
                group["lr"] = learning.rate * (1 + math.cos(math.pi * update / (learning.epochs * batches))) / 2
            images = normalised(people.images[rows[chosen]].to(device))
            cropped = random_shift(random_flip(images, source), source, rows_moved, columns_moved, padding="border")
            logits = reader(cropped)
            wanted = labels[chosen].to(device)
            loss = F.cross_entropy(logits, wanted)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.detach())
            hits.append((logits.argmax(1) == wanted).float().mean())
        means = [torch.stack(values).mean().item() for values in (losses, hits)]
        report(f"epoch {epoch + 1} of {learning.epochs}: loss {means[0]:.3f}, {100 * means[1]:.1f} % of training images named")
    reader.eval()


@torch.no_grad()
def features_of(reader: IdentityClassifier, images: Tensor) -> Tensor:
    """Features (N, D) of uint8 images (N, 3, H, W), on the reader's device."""
    device = reader.classifier.weight.device
    reader.eval()
    return torch.cat([reader.features(normalised(part.to(device))) for part in images.split(FEATURES_BATCH)])


def score_reader(reader: IdentityClassifier, trial: Trial) -> dict[str, float]:
    """``rank_1`` and the others of :func:`unbraid.trainers.measures.reidentification.reidentification_scores`."""
    queries, gallery = (features_of(reader, images.images).cpu() for images in (trial.queries, trial.gallery))
    return reidentification_scores(queries, gallery, trial.queries.seen, trial.gallery.seen)
