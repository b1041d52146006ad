"""A trained pix2pix as its users see it: images of one domain to images of the other, one for each draw of dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from unbraid.models.image_spec import ImageSpec
from unbraid.models.pix2pix.networks import Generator
from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.step.distributed import World, spread
from unbraid.trainers.systems.pix2pix.config import Config

CHUNK = 64
"""Images that go through the network at a time."""


@dataclass(frozen=True)
class Model:
    """The generator in evaluation mode: batch norms have their moving averages, and dropout is on, as in the paper.

    Attributes:
        image: size that the network is built for.
        source, target: the domain of the images that are translated, and of the translations.
        generator: a moving average.
        world: of the ranks among which the work is shared out; all of them call with the same images.
    """

    image: ImageSpec
    source: str
    target: str
    generator: Generator
    device: torch.device
    world: World = field(default_factory=World)

    def shared_over(self, world: World) -> Model:
        """The same model, its work shared out over ranks."""
        return replace(self, world=world)

    @torch.no_grad()
    def translate(self, images: Tensor, random: RandomSource) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of ``source`` → of ``target``, each with dropout of its own."""
        masks = [mask.split(CHUNK) for mask in self.generator.draw_masks(random, len(images))]
        chunks = [(chunk, [mask[i] for mask in masks]) for i, chunk in enumerate(images.split(CHUNK))]
        return torch.cat(spread(lambda chunk: self.generator(*chunk), chunks, self.world))

    @torch.no_grad()
    def bottleneck(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] → the encoder's smallest map as vectors (N, C·h·w)."""
        chunks = images.split(CHUNK)
        return torch.cat(spread(lambda chunk: self.generator.encode(chunk)[-1].flatten(1), chunks, self.world))


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    generator = Generator(config.networks.generator, config.networks.image).to(device)
    load_weights(generator, networks, "generator_ema")
    return Model(config.networks.image, config.source, config.target, generator.requires_grad_(False).eval(), device)
