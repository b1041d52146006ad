"""Parts of configurations that the stages of DPIG share."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from models.specs import ImageSpec
from trainers.config import Section, SystemConfig
from trainers.schedule import halving, linear_decay


class TrainingConfig(Section):
    """How learning rates change, and the moving averages of weights that pictures, measures and later stages use.

    Attributes:
        halve_every: updates between halvings of the rates; 0 is never.
        decay_from: share of ``run.updates`` from which on rates fall linearly to zero; 1 is never.
        ema_decay: of the averages in an update; they are taken every ``ema_every``.
    """

    halve_every: int = Field(0, ge=0)
    decay_from: float = Field(1.0, ge=0, le=1)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    ema_every: int = Field(10, ge=1)

    def rate_factor(self, updates: int, budget: int) -> float:
        """What rates are multiplied by after so many of all updates."""
        return halving(updates, self.halve_every) * linear_decay(updates, budget, self.decay_from)


class PeopleNetworks(Section):
    """What every stage's networks are built for."""

    image: ImageSpec = ImageSpec(3, 128, 64)


class PeopleConfig(SystemConfig):
    """What every stage asks of its data: images of people with 18 keypoints."""

    needs_fields: ClassVar[tuple[str, ...]] = ("image", "keypoints")

    networks: PeopleNetworks = PeopleNetworks()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.networks.image.shape

    @model_validator(mode="after")
    def _keypoints_follow(self) -> Self:
        if self.data.augment.crop:
            raise ValueError("data.augment.crop moves images but not their keypoints: use flip and colours only")
        return self
