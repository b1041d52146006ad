"""Parts of configurations that the stages of DPIG share."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import DiscriminatorSpec, DrawingSpec
from unbraid.models.image_spec import ImageSpec
from unbraid.trainers.config.schema import BatchField, SystemConfig
from unbraid.trainers.config.section import FormerName, Section
from unbraid.trainers.config.sections import ScheduleConfig

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


class AdversarialNetworks(PeopleNetworks):
    """Sections of a generator that learns against a discriminator; see :mod:`unbraid.models.dpig.specs` for each field."""

    drawing: DrawingSpec = DrawingSpec()
    discriminator: Annotated[DiscriminatorSpec, FormerName("critic")] = DiscriminatorSpec()


class AdversarialLoss(Section):
    """Weights in the generator's loss: ``reconstruction`` · L1 + ``adversarial`` · L_adv; 0 leaves the discriminator out.

    The discriminator comes in at ``adversarial_from``, a share of ``run.updates``: earlier there is nothing for it to sharpen.
    """

    reconstruction: float = Field(20.0, gt=0)
    adversarial: float = Field(1.0, ge=0)
    adversarial_from: float = Field(0.0, ge=0, le=1)


class AdversarialOptim(ScheduleConfig):
    """Adam for the generator and for its discriminator."""

    lr_generator: Annotated[float, FormerName("lr_painter")] = Field(2e-5, gt=0)
    lr_discriminator: float = Field(2e-5, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    halve_every: int = Field(50_000, ge=0)


class AdversarialConfig(PeopleConfig):
    """The configuration of a system whose generator learns against a discriminator."""

    networks: AdversarialNetworks = AdversarialNetworks()
    loss: AdversarialLoss = AdversarialLoss()
    optim: AdversarialOptim = AdversarialOptim()

    @model_validator(mode="after")
    def _discriminator_fits(self) -> Self:
        networks = self.networks
        if networks.image.channels != 3:
            raise ValueError(f"networks.image.channels={networks.image.channels}: people are in colour, 3 channels")
        networks.image.divided(1 << len(networks.discriminator.channels), "networks.discriminator")
        return self
