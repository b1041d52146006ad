"""Pairs of images of one person, found among the images of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unbraid.datasets.errors import DataError
from unbraid.datasets.stream.stream import read_split
from unbraid.models.random import RandomSource
from unbraid.trainers.config.sections import DataConfig
from unbraid.trainers.data import Batch
from unbraid.trainers.step.images import normalised
from unbraid.trainers.systems.dpig.batch import mirrored

LOOKED_AT = 1000
"""Images of the training split among which there must be a pair."""


@dataclass(frozen=True)
class Pairs:
    """K pairs.

    Attributes:
        condition: (K, 3, H, W) in [-1, 1].
        target: (K, 3, H, W), the same people in other images.
        keypoints: (K, 18, 3) of the targets.
        found: (K,) 1 for a pair; 0 where too few images of the batch show one person, and the two show different people.
    """

    condition: Tensor
    target: Tensor
    keypoints: Tensor
    found: Tensor


def training_pairs(batch: Batch, count: int, flip: bool, source: RandomSource) -> Pairs:
    """Draw pairs from a batch; the two images of a pair are mirrored together, half of the pairs."""
    condition, target, found = random_pairs(batch["person"], count, source)
    images, keypoints = batch["image"], batch["keypoints"]
    pairs = [(normalised(images[rows]), keypoints[rows]) for rows in (condition, target)]
    if flip:
        which = (source.uniform(len(images), 1, 1) < 0.5)[:count]
        pairs = [mirrored(*people, which) for people in pairs]
    (first, _), (second, wanted) = pairs
    return Pairs(first, second, wanted, found)


def random_pairs(person: Tensor, count: int, source: RandomSource) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of conditions and of targets (count,), and 1 for each that is a pair, 0 for one that had to be made up.

    Conditions are drawn without repetition among the images of people who are seen twice; each target is drawn among the other
    images of its person.

    Args:
        person: (B,) the identity; negative ones are nobody.
    """
    size = len(person)
    is_other = ~torch.eye(size, dtype=torch.bool, device=person.device)
    same = (person[:, None] == person[None, :]) & (person >= 0)[:, None] & is_other
    luck = torch.where(same, source.uniform(size, size), -1.0)
    best, partner = luck.max(1)
    has_partner = best >= 0
    condition = torch.where(has_partner, source.uniform(size), -1.0).topk(count).indices
    return condition, partner[condition], has_partner[condition].float()


def require_pairs(data: DataConfig) -> None:
    """Check that somebody is seen twice among the first images of the training split.

    Raises:
        DataError: when not.
    """
    limit = max(LOOKED_AT, data.batch)
    person = torch.cat([batch["person"] for batch in read_split(data.url, data.split, data.batch, limit, fit=data.fit)])
    known = person[person >= 0]
    if len(known.unique()) == len(known):
        raise DataError(
            f"{data.url}: among the first {len(person):,} images of split {data.split} no two show one person (field person), "
            "and PG² learns from such pairs; name a set with several images of each person"
        )
