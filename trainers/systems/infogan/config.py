"""Configuration of InfoGAN; the defaults are the reference code's settings for MNIST."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.image_spec import ImageSpec
from unbraid.models.infogan.specs import CodeSpec, GeneratorSpec, TrunkSpec
from unbraid.trainers.config.schema import Bounded, PrimaryMetric, SystemConfig
from unbraid.trainers.config.section import Section
from unbraid.trainers.config.sections import ScheduleConfig

LEAST_SHARE, CHANCE = 0.02, 1.5
"""Of what codes could say, and of the accuracy of guessing: a run that ends with no more has learnt nothing."""


class NetworksConfig(Section):
    """Sizes of the networks; see :mod:`unbraid.models.infogan.specs` for each field."""

    image: ImageSpec = ImageSpec()
    generator: GeneratorSpec = GeneratorSpec()
    trunk: TrunkSpec = TrunkSpec()


class LossConfig(Section):
    """Weights λ of L_I, in the loss of D, trunk and Q and in the loss of G.

    Attributes:
        info_categorical, info_continuous: λ of each kind of code.
        info_generator: whether G's loss has L_I at all; false is a plain GAN with a Q that only watches (the ablation).
    """

    info_categorical: float = Field(1.0, ge=0)
    info_continuous: float = Field(1.0, ge=0)
    info_generator: bool = True


class OptimConfig(ScheduleConfig):
    """Adam for both players; moving averages of G, D and Q are what pictures and measures use.

    A finished run that is given more updates goes back to the rates that the larger budget has at that point.
    """

    lr_generator: float = Field(1e-3, gt=0)
    lr_discriminator: float = Field(2e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    ema_decay: float = Field(0.998, ge=0, lt=1)


class AugmentConfig(Section):
    """The random change through which D, trunk and Q see every image, real or generated; fresh for each image and use.

    An affine map, and where their strengths are not zero the parts of DiffAugment (Zhao et al., NeurIPS 2020), which uses
    brightness 1, contrast 0.5, saturation 1, translation 0.125 and cutout 0.5.

    Attributes:
        translation: by whole pixels, at most this share of each side.
        cutout: a square of this share of the sides is set to zero.
    """

    enabled: bool = False
    degrees: float = Field(15.0, ge=0)
    scale: float = Field(0.1, ge=0, lt=1)
    shear: float = Field(0.2, ge=0)
    shift: float = Field(2.0, ge=0)
    padding: Literal["zeros", "border"] = "zeros"
    brightness: float = Field(0.0, ge=0)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    translation: float = Field(0.0, ge=0, lt=1)
    cutout: float = Field(0.0, ge=0, le=1)


class Config(SystemConfig):
    """Everything that decides an InfoGAN run."""

    watched: ClassVar[tuple[str, ...]] = ("info/categorical",)
    bounded: ClassVar[Mapping[str, Bounded]] = {"info/": "information"}
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric("code/accuracy", "code accuracy")

    system: Literal["infogan"] = "infogan"
    codes: CodeSpec = CodeSpec()
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.networks.image.shape

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        if not self.loss.info_generator:
            return None  # a plain GAN, whose codes are to say nothing
        classes = max(self.codes.categorical, default=0)
        if scores.get("info/share", 1.0) <= LEAST_SHARE:
            return f"the codes say nothing of the images: info/share {scores['info/share']:.3f}"
        if classes and scores.get("code/accuracy", 1.0) <= CHANCE / classes:
            return f"the codes are no better than chance: code/accuracy {scores['code/accuracy']:.3f}"
        return None

    def selection_metric(self, searched: Collection[str]) -> PrimaryMetric | None:
        """Covered information; where codes differ, whose information has another bound each, the agreement of models."""
        if any(key.split(".")[0] == "codes" for key in searched):
            return PrimaryMetric("selection/centrality", "agreement of the models of several seeds")
        return PrimaryMetric("selection/covered_information", "covered information")

    def measures(self) -> dict[str, bool]:
        free = [f"info/{name}_nats" for name in self.codes.names]
        free += [f"info/{name}_{part}" for name in self.codes.names for part in ("ceiling_nats", "share")]
        free += [f"info/continuous_{i}_explained" for i in range(self.codes.continuous)]
        free += ["info/share", "quality/density", "quality/coverage", "selection/covered_information"]
        codes = range(len(self.codes.categorical))
        read = [f"code/categorical_{i}_{measure}" for i in codes for measure in ("accuracy", "nmi", "ari")]
        read += ["code/accuracy"] if codes else []
        return dict.fromkeys(free, False) | dict.fromkeys(read, True)

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        image = self.networks.image
        image.divided(self.networks.generator.upsampling, "networks.generator")
        image.divided(self.networks.trunk.downsampling, "networks.trunk")
        if self.shares[0] < 2:
            raise ValueError(f"data.batch={self.data.batch} leaves a worker fewer than 2 images: batch norm needs two")
        return self
