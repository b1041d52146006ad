"""The trained PG²."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unbraid.models.dpig.pose import body_mask
from unbraid.models.dpig.posed import PosedGenerator
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.step.distributed import World, spread
from unbraid.trainers.systems.dpig.networks import frozen
from unbraid.trainers.systems.dpig.people import People
from unbraid.trainers.systems.dpig.pg2.config import Config

CHUNK = 32
"""Images that go through the network at a time."""


class Model:
    """People in other poses.

    Args:
        generator: a moving average, in evaluation mode.
        world: of the ranks among which work is shared out; all of them call with the same images.
    """

    def __init__(self, generator: PosedGenerator, device: torch.device, world: World | None = None) -> None:
        self.generator, self.device, self.world = generator, device, world or World()

    def shared_over(self, world: World) -> Model:
        """The same model, its work shared out over ranks."""
        return Model(self.generator, self.device, world)

    @torch.no_grad()
    def posed(self, condition: People, target: People) -> Tensor:
        """People in the poses of others, (N, 3, H, W) about in [-1, 1]."""
        chunks = list(zip(condition.images.split(CHUNK), target.keypoints.split(CHUNK), strict=True))
        return torch.cat(spread(lambda chunk: self.generator(*chunk), chunks, self.world))

    def masks(self, keypoints: Tensor) -> Tensor:
        """(N, 1, H, W) coarse body masks."""
        return torch.cat([body_masks(self.generator, chunk) for chunk in keypoints.split(2 * CHUNK)])


def body_masks(generator: PosedGenerator, keypoints: Tensor) -> Tensor:
    """(N, 18, 3) → (N, 1, H, W) coarse body masks, in the size and by the radius of a generator."""
    drawing = generator.drawing
    return body_mask(keypoints, generator.size, drawing.mask_radius, drawing.closing)


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    sizes = config.networks
    generator = frozen(PosedGenerator(sizes.generator, sizes.drawing, sizes.image)).to(device)
    load_weights(generator, networks, "generator_ema")
    return Model(generator, device)
