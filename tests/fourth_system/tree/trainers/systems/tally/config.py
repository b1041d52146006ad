"""Configuration of the auto-encoder of strokes."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from unbraid.models.image_spec import ImageSpec
from unbraid.models.tally.specs import AutoencoderSpec
from unbraid.trainers.config.schema import BatchField, Bounded, PrimaryMetric, SystemConfig
from unbraid.trainers.config.section import Section
from unbraid.trainers.config.sections import ScheduleConfig


class NetworksConfig(Section):
    """Sizes, see :mod:`unbraid.models.tally.specs`."""

    image: ImageSpec = ImageSpec(1, 16, 16)
    autoencoder: AutoencoderSpec = AutoencoderSpec()


class LossConfig(Section):
    """``reconstruction`` · L1 + ``style`` · mean square of the code."""

    reconstruction: float = Field(1.0, gt=0)
    style: float = Field(0.01, ge=0)


class OptimConfig(ScheduleConfig):
    """Adam."""

    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)


class Config(SystemConfig):
    """Everything that decides a run."""

    truth_fields: ClassVar[tuple[str, ...]] = ("slant",)
    watched: ClassVar[tuple[str, ...]] = ("loss/reconstruction",)
    bounded: ClassVar[Mapping[str, Bounded]] = {"loss/reconstruction": "error"}
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric(
        "rebuilt/l1", "mean difference of rebuilt images", lower_is_better=True
    )

    system: Literal["tally"] = "tally"
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.networks.image.shape

    def training_fields(self) -> dict[str, BatchField]:
        return {"image": BatchField("image", self.image_shape), "count": BatchField("integer", ())}

    def measures(self) -> dict[str, bool]:
        return {"rebuilt/l1": False, "style/deviation": False, "style/slant_correlation": True}
