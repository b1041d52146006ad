"""Parts of configurations that the stages of DPIG share."""

from typing import ClassVar, Self

from pydantic import model_validator

from unbraid.models.image_spec import ImageSpec
from unbraid.trainers.config.schema import BatchField, Section, SystemConfig

KEYPOINTS = 18


class PeopleNetworks(Section):
    """Sections that the networks of every stage have."""

    image: ImageSpec = ImageSpec(3, 128, 64)


class PeopleConfig(SystemConfig):
    """The configuration that stages share: their data are images of people with 18 keypoints."""

    truth_fields: ClassVar[tuple[str, ...]] = ("person", "background", "pose")

    networks: PeopleNetworks = PeopleNetworks()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.networks.image.shape

    def training_fields(self) -> dict[str, BatchField]:
        return {"image": BatchField("image", self.image_shape), "keypoints": BatchField("array", (KEYPOINTS, 3))}

    @model_validator(mode="after")
    def _keypoints_follow(self) -> Self:
        if self.data.augment.crop:
            raise ValueError("data.augment.crop moves images but not their keypoints: use flip and colours only")
        return self
