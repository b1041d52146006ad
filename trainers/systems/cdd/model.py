"""A trained CDD as its users see it: images to parts, parts to images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from unbraid.models.cdd.specs import SHARED_SIDE, RepresentationSpec
from unbraid.models.cdd.translators import Parts, Translators
from unbraid.models.image_spec import ImageSpec
from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.step.distributed import World, spread
from unbraid.trainers.systems.cdd.config import Config

CHUNK = 64
"""Images that go through the networks at a time."""


@dataclass(frozen=True)
class Model:
    """Translators in evaluation mode, without noise or gradients.

    Attributes:
        image, parts: sizes that the networks are built for.
        translators: a moving average.
        world: of the ranks among which encoding and decoding are shared out; all of them call with the same images.
    """

    image: ImageSpec
    parts: RepresentationSpec
    translators: Translators
    device: torch.device
    world: World = field(default_factory=World)

    def shared_over(self, world: World) -> Model:
        """The same model, its work shared out over ranks."""
        return replace(self, world=world)

    def encode(self, domain: str, images: Tensor) -> Parts:
        """Parts of images (N, C, s, s) in [-1, 1] of one domain."""
        joined = torch.cat(spread(lambda chunk: self._encode_flat(domain, chunk), images.split(CHUNK), self.world))
        shared, exclusive = joined.split([joined.shape[1] - self.parts.exclusive, self.parts.exclusive], 1)
        return Parts(shared.unflatten(1, (self.parts.shared, SHARED_SIDE, SHARED_SIDE)).contiguous(), exclusive.contiguous())

    @torch.no_grad()
    def decode(self, domain: str, shared: Tensor, exclusive: Tensor) -> Tensor:
        """Images (N, C, s, s) in [-1, 1] of one domain."""
        chunks = list(zip(shared.split(CHUNK), exclusive.split(CHUNK), strict=True))
        return torch.cat(spread(lambda chunk: self.translators.decode(domain, *chunk), chunks, self.world))

    @torch.no_grad()
    def decode_exclusive(self, domain: str, exclusive: Tensor) -> Tensor:
        """Images (N, C, s, s) of one domain that its exclusive decoder draws from the other domain's E alone, (N, width).

        Raises:
            ConfigError: when the run has no exclusive decoders.
        """
        if domain not in self.translators.exclusive_decoders:
            raise ConfigError("this run has no exclusive decoders (loss.exclusive is 0); name one that has")
        chunks = exclusive.split(CHUNK)
        return torch.cat([self.translators.exclusive_decoders[domain](chunk) for chunk in chunks])

    @torch.no_grad()
    def _encode_flat(self, domain: str, images: Tensor) -> Tensor:
        """S and E in one row an image: (N, C·8·8 + width)."""
        parts = self.translators.encode(domain, images)
        return torch.cat([parts.shared.flatten(1), parts.exclusive], 1)

    def draw(self, count: int, source: RandomSource) -> Tensor:
        """Exclusive parts (count, width) from their prior."""
        return source.normal(count, self.parts.exclusive)


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    sizes = config.networks
    translators = Translators(sizes.translator, sizes.parts, sizes.image, config.loss.exclusive > 0).to(device)
    load_weights(translators, networks, "translators_ema")
    return Model(sizes.image, sizes.parts, translators.requires_grad_(False).eval(), device)
