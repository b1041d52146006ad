"""The auto-encoder of strokes as its users hold it."""

from __future__ import annotations

from typing import ClassVar

import torch

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.system import Model as AnyModel
from unbraid.trainers.systems.tally.model import Model
from unbraid.trainers.use.images import Images, ImagesIn, pixels_of
from unbraid.trainers.use.trained import Origin, TrainedModel


class Tally(TrainedModel):
    """Strokes, with another number of them."""

    methods: ClassVar[tuple[str, ...]] = ("recount",)
    networks: Model

    def recount(self, images: ImagesIn, count: int) -> Images:
        """Draw images again with another number of strokes."""
        shape = self.config.image_shape
        assert shape is not None
        style = self.networks.encode(normalised(pixels_of(images, shape).to(self.device)))
        counts = torch.full((len(style),), count, device=self.device)
        return Images.of_unit_range(unit_range(self.networks.decode(style, counts)))


def trained(config: SystemConfig, model: AnyModel, origin: Origin) -> Tally:
    """See :func:`unbraid.trainers.use.trained.trained_model`."""
    assert isinstance(model, Model)
    return Tally(config, model, origin)
