"""Configuration of pix2pix; the defaults are the paper's for 256×256."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.pix2pix.specs import DiscriminatorSpec, GeneratorSpec, halvings
from unbraid.trainers.config.schema import LEAST_SSIM, Bounded, PrimaryMetric
from unbraid.trainers.config.section import Section
from unbraid.trainers.config.sections import ScheduleConfig
from unbraid.trainers.paired.config import PairedConfig, PairedNetworks

Direction = Literal["x_to_y", "y_to_x"]


class NetworksConfig(PairedNetworks):
    """Sizes, see :mod:`unbraid.models.pix2pix.specs`."""

    generator: GeneratorSpec = GeneratorSpec()
    discriminator: DiscriminatorSpec = DiscriminatorSpec()


class LossConfig(Section):
    """Weights.

    Attributes:
        adversarial: of the cross-entropy of D in G's loss, non-saturating.
        l1: of the mean absolute difference from the true image in G's loss; 0 leaves G to the adversary alone.
        discriminator: of the cross-entropy in D's own loss, halved in the paper to slow D down.
    """

    adversarial: float = Field(1.0, gt=0)
    l1: float = Field(100.0, ge=0)
    discriminator: float = Field(0.5, gt=0)


class OptimConfig(ScheduleConfig):
    """Adam for both players."""

    lr_generator: float = Field(2e-4, gt=0)
    lr_discriminator: float = Field(2e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)


class Config(PairedConfig):
    """Everything that decides a run of pix2pix, which translates in one ``direction``."""

    bounded: ClassVar[Mapping[str, Bounded]] = {"loss/l1": "error"}
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric(
        "translated/l1", "L1 of translations to the true images", lower_is_better=True
    )

    system: Literal["pix2pix"] = "pix2pix"
    direction: Direction = "x_to_y"
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    @property
    def source(self) -> str:
        """The domain of the images that are translated."""
        return self.direction[0]

    @property
    def target(self) -> str:
        """The domain of the translations."""
        return self.direction[-1]

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        similarity = scores.get("translated/ssim", 1.0)
        return (
            f"translations do not resemble the true images: translated/ssim {similarity:.3f}"
            if similarity <= LEAST_SSIM
            else None
        )

    def measures(self) -> dict[str, bool]:
        free = [f"translated/{name}" for name in ("ssim", "l1", "psnr")]
        free += [f"diversity/{name}" for name in ("laplacian", "real_laplacian", "ratio_to_real")]
        free += ["drawn/checkerboard", *(f"retrieval/bottleneck_recall_{k}_{self.direction}" for k in (1, 5))]
        read = [f"transfer/colour_error_{self.target}", f"transfer/label_kept_{self.target}", "transfer/label_read"]
        return dict.fromkeys(free, False) | dict.fromkeys([*read, "retrieval/bottleneck_map"], True)

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        halvings(self.networks.image)
        self.networks.discriminator.patches(self.networks.image)
        return self
