"""The configuration that systems of pairs share."""

from typing import ClassVar, Self

from pydantic import model_validator

from unbraid.models.domains import DOMAINS
from unbraid.models.image_spec import ImageSpec
from unbraid.trainers.config.schema import BatchField, SystemConfig
from unbraid.trainers.config.section import Section


class PairedNetworks(Section):
    """Sections that the networks of every such system have."""

    image: ImageSpec = ImageSpec(3, 256, 256)


class PairedConfig(SystemConfig):
    """The configuration of a system that learns from images of two domains in pairs."""

    truth_fields: ClassVar[tuple[str, ...]] = ("label", "x_colour", "y_colour")

    networks: PairedNetworks = PairedNetworks()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.networks.image.shape

    def training_fields(self) -> dict[str, BatchField]:
        return {domain: BatchField("image", self.image_shape) for domain in DOMAINS}

    @model_validator(mode="after")
    def _pairs_stay_pairs(self) -> Self:
        if self.data.augment.colour:
            raise ValueError("data.augment: colours of X and Y would change by themselves; use flip and crop, which move both")
        return self
