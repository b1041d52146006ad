"""Held-out pairs that measures and pictures look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unbraid.datasets.shards.index import fitted_fields, read_index
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split
from unbraid.models.domains import DOMAINS
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import Batch
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.step.distributed import World, gather_parts
from unbraid.trainers.step.images import normalised

SHOWN = 12
"""Pairs in the pictures of a run."""
SEARCHED = 100
"""Held-out pairs that those of a picture are chosen from, where no more are wanted."""


@dataclass(frozen=True)
class Pairs:
    """N pairs as the stream gives them.

    Attributes:
        images: of each domain, (N, C, s, s) in [-1, 1]; there may be fewer of them than of labels.
        label: (N,) classes; None where nobody knows.
        colours: true colour of each domain, (N, 3) in [0, 1]; empty for photographs.
    """

    images: dict[str, Tensor]
    label: Tensor | None
    colours: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.images["x"])

    def without_images(self) -> Pairs:
        """What is known of them."""
        return Pairs({d: images[:0] for d, images in self.images.items()}, self.label, self.colours)

    def __getitem__(self, rows: Tensor | slice) -> Pairs:
        return Pairs(
            {d: images[rows] for d, images in self.images.items()},
            None if self.label is None else self.label[rows],
            {d: colours[rows] for d, colours in self.colours.items()},
        )


def pairs_of(batch: Batch) -> Pairs:
    """Of one batch."""
    colours = {d: batch[f"{d}_colour"] for d in DOMAINS} if all(f"{d}_colour" in batch for d in DOMAINS) else {}
    return Pairs({d: normalised(batch[d]) for d in DOMAINS}, batch.get("label"), colours)


def gather_pairs(parts: Sequence[Pairs], world: World) -> Pairs:
    """All pairs of all ranks, in order, see :func:`gather_parts`; a collective."""

    def gathered(tensors: list[Tensor]) -> Tensor:
        return torch.cat(gather_parts(tensors, world))

    labels = [part.label for part in parts if part.label is not None]
    has_labels, has_colours = world.any(bool(labels)), world.any(any(part.colours for part in parts))
    return Pairs(
        {d: gathered([part.images[d] for part in parts]) for d in DOMAINS},
        gathered(labels) if has_labels else None,
        {d: gathered([part.colours[d] for part in parts]) for d in DOMAINS} if has_colours else {},
    )


def held_out(config: SystemConfig, device: torch.device, split: str, count: int) -> Pairs:
    """The same few pairs of a split for every picture of a run, one of each class in turn where classes are known.

    There may be fewer than ``count``.

    Raises:
        ConfigError: when the set has no pairs, or pairs of another size.
    """
    index = read_index(open_store(config.data.url))
    if not set(DOMAINS) <= set(index.fields):
        raise ConfigError(
            f"{config.data.url}: its samples have no x and no y, only {', '.join(index.fields)}; name a set of pairs"
        )
    fields = fitted_fields(index.fields, config.data.fit)
    shapes = {d: fields[d].shape for d in DOMAINS}
    if set(shapes.values()) != {config.image_shape}:
        raise ConfigError(
            f"{config.data.url}: its images are {shapes['x']} and {shapes['y']}, the run is for images of "
            f"{config.image_shape}: pack the pairs with --size, or name another set"
        )
    batch = next(iter(read_split(config.data.url, split, max(count, SEARCHED), fit=config.data.fit)))
    pairs = pairs_of({name: tensor.to(device) for name, tensor in batch.items()})
    if pairs.label is None:
        return pairs[:count]
    seen: dict[int, int] = {}
    turns = []
    for row, label in enumerate(pairs.label.tolist()):
        seen[label] = seen.get(label, 0) + 1
        turns.append((seen[label], label, row))
    rows = [row for _, _, row in sorted(turns)[:count]]
    return pairs[torch.tensor(rows, device=device)]
