"""A trained CDD as its users see it: images to parts, parts to images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unbraid.models.cdd.specs import RepresentationSpec
from unbraid.models.cdd.translators import Parts, Translators
from unbraid.models.image_spec import ImageSpec
from unbraid.models.random import RandomSource

CHUNK = 64
"""Images that go through the networks at a time."""


@dataclass(frozen=True)
class Model:
    """Translators in evaluation mode, without noise or gradients.

    Attributes:
        image, parts: sizes that the networks are built for.
        translators: averaged.
    """

    image: ImageSpec
    parts: RepresentationSpec
    translators: Translators
    device: torch.device

    @torch.no_grad()
    def encode(self, domain: str, images: Tensor) -> Parts:
        """Parts of images (N, C, s, s) in [-1, 1] of one domain."""
        return Parts.joined([self.translators.encode(domain, chunk) for chunk in images.split(CHUNK)])

    @torch.no_grad()
    def decode(self, domain: str, shared: Tensor, exclusive: Tensor) -> Tensor:
        """Images (N, C, s, s) in [-1, 1] of one domain."""
        chunks = zip(shared.split(CHUNK), exclusive.split(CHUNK), strict=True)
        return torch.cat([self.translators.decode(domain, s, e) for s, e in chunks])

    def draw(self, count: int, source: RandomSource) -> Tensor:
        """Exclusive parts (count, width) from their prior."""
        return source.normal(count, self.parts.exclusive)
