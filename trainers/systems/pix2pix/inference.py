"""pix2pix as its users hold it: translations one way."""

from __future__ import annotations

from typing import ClassVar

import torch

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.system import Model as AnyModel
from unbraid.trainers.systems.pix2pix.model import Model
from unbraid.trainers.use.images import Images, ImagesIn, pixels_of
from unbraid.trainers.use.trained import Origin, TrainedModel


class Pix2Pix(TrainedModel):
    """Translations from one domain to another."""

    methods: ClassVar[tuple[str, ...]] = ("translate",)
    example: ClassVar[str] = 'images = model.translate("image.png", resize=True)\nimages.grid().save("translated.png")'
    networks: Model

    def translate(self, images: ImagesIn, *, samples: int = 1, seed: int = 0, resize: bool = False) -> Images:
        """Translate images, each with dropout of its own.

        Args:
            images: see :data:`unbraid.trainers.use.images.ImagesIn`.
            samples: translations of each image, which are next to each other.
            seed: of the dropout.
            resize: whether images of another size or mode are resized and converted.

        Raises:
            ConfigError: naming an image of another size or mode.
            DataError: when a file cannot be read.
        """
        pixels = normalised(pixels_of(images, self.networks.image.shape, resize).to(self.device))
        with torch.no_grad():
            fake = self.networks.translate(pixels.repeat_interleave(samples, 0), self.random(seed))
        return Images.of_unit_range(unit_range(fake), samples if samples > 1 else 0)


def trained(config: SystemConfig, model: AnyModel, origin: Origin) -> Pix2Pix:
    """See :func:`unbraid.trainers.use.trained.trained_model`."""
    assert isinstance(model, Model)
    return Pix2Pix(config, model, origin)
