"""Parts of configurations that the stages of DPIG share."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from trainers.config import Section, SystemConfig


class RateConfig(Section):
    """How Adam's rates change: halved every ``halve_every`` updates (0 is never), and falling linearly to zero from
    ``decay_from`` on, a share of ``run.updates`` (1 is never).
    """

    halve_every: int = Field(0, ge=0)
    decay_from: float = Field(1.0, ge=0, le=1)


class AverageConfig(RateConfig):
    """Rates, and the moving averages of weights that pictures, measures and later stages use, taken every ``ema_every``."""

    ema_decay: float = Field(0.999, ge=0, lt=1)
    ema_every: int = Field(10, ge=1)


class PeopleConfig(SystemConfig):
    """What every stage asks of its data: images of people with 18 keypoints."""

    needs_fields: ClassVar[tuple[str, ...]] = ("image", "keypoints")

    @model_validator(mode="after")
    def _keypoints_follow(self) -> Self:
        if self.data.augment.crop:
            raise ValueError("data.augment.crop moves images but not their keypoints: use flip and colours only")
        return self
