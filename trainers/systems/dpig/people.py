"""Images of people for measures and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from unbraid.trainers.data import Batch, EvaluationData
from unbraid.trainers.step.distributed import World, gather_parts
from unbraid.trainers.step.images import normalised

SHOWN = 8
"""People in a picture."""
SEARCHED = 200
NUMBERS = ("person", "background", "pose")
"""Fields of a set that say who and what is seen."""


@dataclass(frozen=True)
class People:
    """N images of people, as a set holds them.

    Attributes:
        images: (N, 3, H, W) in [-1, 1].
        keypoints: (N, 18, 3).
        person: (N,) the identity; −1 where it is unknown.
        background, pose: (N,) numbers of the true factors, −1 where images are photographs.
    """

    images: Tensor
    keypoints: Tensor
    person: Tensor
    background: Tensor
    pose: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> People:
        return People(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def has_truth(self) -> bool:
        """Whether the true factors of every image are known."""
        return bool((self.pose >= 0).all())


def gather_people(batches: Iterable[Batch], world: World) -> People:
    """All people of all ranks' batches, in order; a collective.

    Args:
        batches: this rank's share.
    """
    kept = list(batches)

    def gathered(name: str) -> Tensor:
        return torch.cat(gather_parts([batch[name] for batch in kept], world))

    images = gathered("image")
    unknown = torch.full((len(images),), -1, device=images.device)
    known = {name: world.any(any(name in batch for batch in kept)) for name in NUMBERS}
    numbers = [gathered(name) if known[name] else unknown for name in NUMBERS]
    return People(normalised(images), gathered("keypoints"), *numbers)


def same_person_pairs(people: People) -> tuple[Tensor, Tensor]:
    """Rows of (condition, target): each image and the next one of the same person, for pose-guided generation."""
    rows: dict[int, list[int]] = {}
    for row, person in enumerate(people.person.tolist()):
        if person >= 0:
            rows.setdefault(person, []).append(row)
    pairs = [(a, b) for same in rows.values() if len(same) > 1 for a, b in zip(same, same[1:] + same[:1], strict=True)]
    table = torch.tensor(pairs, dtype=torch.long, device=people.images.device).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def shown_pairs(people: People, count: int = SHOWN) -> tuple[Tensor, Tensor]:
    """A few of :func:`same_person_pairs`, spread over all of them."""
    condition, target = same_person_pairs(people)
    every = slice(None, None, max(1, len(condition) // count))
    return condition[every][:count], target[every][:count]


def shown_people(data: EvaluationData, count: int = SHOWN) -> People:
    """The same few held-out people for every picture of a run, all different where they can be told apart."""
    people = gather_people(data.held_out(SEARCHED), data.world)
    first: dict[int, int] = {}
    for row, person in enumerate(people.person.tolist()):
        first.setdefault(person, row)
    rows = sorted(first.values()) if len(first) >= count else list(range(len(people)))
    return people[torch.tensor(rows[:count], device=data.device)]
