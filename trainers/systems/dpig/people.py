"""Held-out people that measures and pictures look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from unbraid.datasets.stream.stream import read_split
from unbraid.trainers.step.images import normalised
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.sections import PeopleConfig

SHOWN = 8
"""People in a picture."""
SEARCHED = 200


@dataclass(frozen=True)
class People:
    """N people as the stream gives them.

    Attributes:
        images: (N, 3, H, W) in [-1, 1].
        keypoints: (N, 18, 3).
        person: (N,) who it is; −1 where nobody knows.
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
        """Whether every image can be drawn again."""
        return bool((self.pose >= 0).all())


def gather(batches: Iterable[Batch], limit: int) -> People:
    """The first ``limit`` people of some batches."""
    kept: list[Batch] = []
    count = 0
    for batch in batches:
        kept.append(batch)
        count += len(batch["image"])
        if count >= limit:
            break
    images = torch.cat([b["image"] for b in kept])[:limit]
    unknown = torch.full((len(images),), -1, device=images.device)
    numbers = [
        torch.cat([b[name] for b in kept])[:limit] if name in kept[0] else unknown for name in ("person", "background", "pose")
    ]
    return People(normalised(images), torch.cat([b["keypoints"] for b in kept])[:limit], *numbers)


def same_person_pairs(people: People) -> tuple[Tensor, Tensor]:
    """Rows of (condition, target): each image with the next one of the same person, as pose-guided generation is measured."""
    rows: dict[int, list[int]] = {}
    for row, person in enumerate(people.person.tolist()):
        if person >= 0:
            rows.setdefault(person, []).append(row)
    pairs = [(a, b) for same in rows.values() if len(same) > 1 for a, b in zip(same, same[1:] + same[:1], strict=True)]
    table = torch.tensor(pairs, dtype=torch.long, device=people.images.device).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def sitters(config: PeopleConfig, device: torch.device, count: int = SHOWN) -> People:
    """The same few held-out people for every picture of a run, all different where they can be told apart."""
    batch = next(iter(read_split(config.data.url, config.data.evaluation_split, SEARCHED)))
    people = gather([{name: tensor.to(device) for name, tensor in batch.items()}], SEARCHED)
    first: dict[int, int] = {}
    for row, person in enumerate(people.person.tolist()):
        first.setdefault(person, row)
    rows = sorted(first.values()) if len(first) >= count else list(range(len(people)))
    return people[torch.tensor(rows[:count], device=device)]
