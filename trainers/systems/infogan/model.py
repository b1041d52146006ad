"""A trained InfoGAN: codes to images, images to codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unbraid.models.infogan.codes import CodePosterior, latent_vector, sample_codes, split_head
from unbraid.models.infogan.networks import Discriminator, Generator
from unbraid.models.infogan.specs import CodeSpec
from unbraid.models.normalization import estimate_statistics
from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.checkpoint import load_weights
from unbraid.trainers.step.distributed import World, sum_over_ranks
from unbraid.trainers.systems.infogan.config import Config, NetworksConfig


@dataclass(frozen=True)
class Model:
    """The moving averages of G, D and Q.

    Attributes:
        sizes: that the networks are built for; ``codes`` is the layout of the latent vector.
        generator, discriminator: in evaluation mode.
    """

    sizes: NetworksConfig
    codes: CodeSpec
    generator: Generator
    discriminator: Discriminator
    device: torch.device

    @torch.no_grad()
    def draw(self, latent: Tensor) -> Tensor:
        """Latent vectors (B, latent_width) → images (B, C, H, W), in the range of the generator's output."""
        images: Tensor = self.generator(latent)
        return images

    def sample(self, count: int, source: RandomSource) -> Tensor:
        """Images (count, C, H, W) of fresh codes and noise."""
        return self.draw(latent_vector(self.codes, sample_codes(self.codes, source, count)))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, H, W) → floats in the range of the generator's output.

        Raises:
            ValueError: when the images are not of the size that the networks were built for.
        """
        return normalise(images, self.sizes)

    def unit_range(self, images: Tensor) -> Tensor:
        """Images in the range of the generator's output → [0, 1]."""
        return images if self.sizes.generator.output == "sigmoid" else (images + 1) / 2

    def reader(self, images: Iterable[Tensor], world: World) -> Reader:
        """Q with the batch statistics of some images.

        The moving average's own statistics are of training's mixture of real and generated images. Averaged weights are used
        because what Q reads from real images swings from update to update while G and Q agree on generated ones.

        Args:
            images: normalised batches; with several ranks this rank's share.
        """
        network = Discriminator(self.sizes.trunk, self.codes, self.sizes.image).to(self.device)
        network.load_state_dict(self.discriminator.state_dict())
        estimate_statistics(network, network.q, images, lambda statistic: sum_over_ranks(statistic, world))
        return Reader(network, self.codes)


@dataclass(frozen=True)
class Reader:
    """Q(c | x), for images like those that its batch statistics are of."""

    network: Discriminator
    codes: CodeSpec

    @torch.no_grad()
    def read(self, images: Tensor) -> CodePosterior:
        """The posterior of normalised images (B, C, H, W)."""
        return split_head(self.codes, self.network.q(images))


def normalise(images: Tensor, sizes: NetworksConfig) -> Tensor:
    """See :meth:`Model.normalise`."""
    if tuple(images.shape[1:]) != sizes.image.shape:
        raise ValueError(
            f"images are {tuple(images.shape[1:])}, but networks.image is {sizes.image.shape}: "
            "set networks.image to the data set's shape, or data.url to another set"
        )
    unit = images.to(torch.float32).div_(255)
    return unit if sizes.generator.output == "sigmoid" else unit.mul_(2).sub_(1)


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model in a checkpoint's networks, see :func:`unbraid.trainers.system.load_model`."""
    assert isinstance(config, Config)
    sizes = config.networks
    generator = Generator(sizes.generator, config.codes, sizes.image).to(device).requires_grad_(False).eval()
    discriminator = Discriminator(sizes.trunk, config.codes, sizes.image).to(device).requires_grad_(False).eval()
    load_weights(generator, networks, "generator_ema")
    load_weights(discriminator, networks, "discriminator_ema")
    return Model(sizes, config.codes, generator, discriminator, device)
