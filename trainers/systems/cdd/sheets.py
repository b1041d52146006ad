"""What a trained CDD is for; each use is a sheet of pictures (3, H, W) uint8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from unbraid.models.domains import OTHER
from unbraid.models.random import RandomSource
from unbraid.trainers.measures.retrieval import distances
from unbraid.trainers.paired.pairs import Pairs
from unbraid.trainers.runs.pictures import sheet
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.cdd.model import Model

Moving = Literal["exclusive", "shared", "both"]
Representation = Literal["shared", "exclusive", "pixels"]
RIGHT, WRONG, QUERY = (0.1, 0.7, 0.2), (0.85, 0.1, 0.1), (1.0, 1.0, 1.0)
"""Colours of frames."""
FRAME = 2
"""Width of a frame, for every 32 pixels of an image."""


def translation_sheet(model: Model, images: Tensor, source: str, samples: int, random: RandomSource) -> Tensor:
    """Each row: an image of domain ``source``, then translations whose E is drawn from the prior, one draw a column."""
    drawn = model.draw(samples, random)
    shared = model.encode(source, images).shared.repeat_interleave(samples, 0)
    fake = model.decode(OTHER[source], shared, drawn.repeat(len(images), 1)).unflatten(0, (len(images), samples))
    return sheet(unit_range(torch.cat([images[:, None], fake], 1).flatten(0, 1)), samples + 1)


def exclusive_sheet(model: Model, pairs: Pairs, source: str) -> Tensor:
    """A column for each pair: the image of domain ``source``, its partner, and what is drawn as the partner from E alone.

    The less the last row looks like the one above, the less E knows of what the domains share.
    """
    images, partners = pairs.images[source], pairs.images[OTHER[source]]
    drawn = model.decode_exclusive(OTHER[source], model.encode(source, images).exclusive)
    return sheet(unit_range(torch.cat([images, partners, drawn])), len(images))


def transfer_sheet(model: Model, pairs: Pairs, source: str, references: Pairs) -> Tensor:
    """A matrix: rows are images of domain ``source`` (leftmost), columns images of the other (topmost) whose E they get."""
    images, others = pairs.images[source], references.images[OTHER[source]]
    shared, exclusive = model.encode(source, images).shared, model.encode(OTHER[source], others).exclusive
    fake = model.decode(OTHER[source], shared.repeat_interleave(len(others), 0), exclusive.repeat(len(images), 1)).unflatten(
        0, (len(images), len(others))
    )
    corner = torch.ones_like(others[:1])
    rows = torch.cat([images[:, None], fake], 1).flatten(0, 1)
    return sheet(unit_range(torch.cat([corner, others, rows])), len(others) + 1)


def interpolation_sheet(model: Model, pairs: Pairs, domain: str, moving: Moving, columns: int) -> Tensor:
    """Each row goes from one image of a domain (leftmost) to another (rightmost) in equal steps of E, S or both.

    Two successive pairs make a row. What does not move is the first one's.
    """
    ends = pairs.images[domain]
    first, last = ends[0::2][: len(ends) // 2], ends[1::2]
    parts, others = model.encode(domain, first), model.encode(domain, last)
    steps = torch.linspace(0, 1, columns, device=ends.device)
    shared = _between(parts.shared, others.shared, steps * (moving != "exclusive"))
    exclusive = _between(parts.exclusive, others.exclusive, steps * (moving != "shared"))
    fake = model.decode(domain, shared, exclusive).unflatten(0, (len(first), columns))
    return sheet(unit_range(torch.cat([first[:, None], fake, last[:, None]], 1).flatten(0, 1)), columns + 2)


def _between(first: Tensor, last: Tensor, steps: Tensor) -> Tensor:
    """(N, ...) → (N·steps, ...)."""
    shares = steps.view(1, -1, *(1,) * (first.ndim - 1))
    return torch.lerp(first[:, None].float(), last[:, None].float(), shares).flatten(0, 1)


@dataclass(frozen=True)
class Retrieval:
    """Queries and what they found.

    Attributes:
        nearest: (N, k) rows of the gallery, nearest first.
        right: (N, k) whether that is the query's partner.
    """

    nearest: Tensor
    right: Tensor


def retrieve(model: Model, pairs: Pairs, source: str, queries: int, top: int, by: Representation) -> Retrieval:
    """The first ``queries`` images of domain ``source`` among all images of the other one."""
    target = OTHER[source]
    if by == "pixels":
        wanted, gallery = pairs.images[source][:queries], pairs.images[target]
    else:
        wanted = getattr(model.encode(source, pairs.images[source][:queries]), by)
        gallery = getattr(model.encode(target, pairs.images[target]), by)
    nearest = distances(wanted, gallery).topk(top, largest=False).indices
    return Retrieval(nearest, nearest == torch.arange(len(nearest), device=nearest.device)[:, None])


def retrieval_sheet(pairs: Pairs, source: str, found: Retrieval) -> Tensor:
    """Each row: the query, then the nearest of the other domain; a green frame is its partner, a red one is not."""
    rows = []
    for i, (nearest, right) in enumerate(zip(found.nearest, found.right.tolist(), strict=True)):
        images = torch.cat([pairs.images[source][i : i + 1], pairs.images[OTHER[source]][nearest]])
        colours = [QUERY] + [RIGHT if it_is else WRONG for it_is in right]
        rows.append(_framed(unit_range(images), colours))
    return sheet(torch.cat(rows), found.nearest.shape[1] + 1)


def _framed(images: Tensor, colours: list[tuple[float, float, float]]) -> Tensor:
    """Images (N, C, H, W) in [0, 1] with a frame of its colour around each."""
    width = max(FRAME * images.shape[2] // 32, 1)
    framed = pad(images.expand(-1, 3, -1, -1), (width,) * 4, value=float("nan"))
    return torch.where(framed.isnan(), torch.tensor(colours, device=images.device)[:, :, None, None], framed)
