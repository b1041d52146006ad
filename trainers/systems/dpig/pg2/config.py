"""Configuration of PG² (Ma et al., NIPS 2017), as a baseline of equal size: what is not its own is as in DPIG's stage I."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import DiscriminatorSpec, DrawingSpec, PosedSpec
from unbraid.trainers.config.schema import BatchField, DataConfig, ScheduleConfig, Section
from unbraid.trainers.systems.dpig.sections import PeopleConfig, PeopleNetworks


class NetworksConfig(PeopleNetworks):
    """Sizes of the networks; see :mod:`unbraid.models.dpig.specs` for each field."""

    drawing: DrawingSpec = DrawingSpec()
    generator: PosedSpec = PosedSpec()
    discriminator: DiscriminatorSpec = DiscriminatorSpec()


class LossConfig(Section):
    """Weights in the generator's loss: ``reconstruction`` · L1 + ``adversarial`` · L_adv; 0 leaves the discriminator out.

    In L1, pixels under the target's body mask weigh 1 + ``mask``, all others 1. The discriminator comes in at
    ``adversarial_from``, a share of ``run.updates``.
    """

    reconstruction: float = Field(20.0, gt=0)
    mask: float = Field(1.0, ge=0)
    adversarial: float = Field(1.0, ge=0)
    adversarial_from: float = Field(0.0, ge=0, le=1)


class OptimConfig(ScheduleConfig):
    """Adam for the generator and for its discriminator."""

    lr_generator: float = Field(2e-5, gt=0)
    lr_discriminator: float = Field(2e-5, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    halve_every: int = Field(50_000, ge=0)


class Config(PeopleConfig):
    """Everything that decides a run of PG².

    Attributes:
        images_per_pair: an update learns from one pair of images of one person for so many images of ``data.batch``. Pairs
            are found among the images of a batch, so that few images have few pairs: see the scalar ``pairs/found``.
    """

    truth_fields: ClassVar[tuple[str, ...]] = ("background", "pose")
    primary_metric: ClassVar[tuple[str, str] | None] = ("transfer/ssim", "SSIM of held-out people in another pose")

    system: Literal["dpig.pg2"] = "dpig.pg2"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=256)
    images_per_pair: Annotated[int, Field(ge=2)] = 16
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def training_fields(self) -> dict[str, BatchField]:
        return {**super().training_fields(), "person": BatchField("integer", ())}

    def measures(self) -> dict[str, bool]:
        names = ("ssim", "l1", "psnr", "mask_ssim", "ssim_pg2", "mask_ssim_pg2")
        return {f"transfer/{name}": False for name in names}

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        networks = self.networks
        if networks.image.channels != 3:
            raise ValueError(f"networks.image.channels={networks.image.channels}: people are in colour, 3 channels")
        networks.image.divided(1 << (networks.generator.blocks - 1), "networks.generator")
        networks.image.divided(1 << len(networks.discriminator.channels), "networks.discriminator")
        return self

    @model_validator(mode="after")
    def _pairs_fit(self) -> Self:
        if self.data.augment.colour:
            raise ValueError(
                "data.augment changes the colours of each image for itself, and a pair shows one person: use flip only"
            )
        if any(share % self.images_per_pair for share in self.shares):
            raise ValueError(
                f"images_per_pair={self.images_per_pair} must divide the images of each worker, here "
                f"{' or '.join(map(str, self.shares))} of data.batch={self.data.batch}: change one of them"
            )
        return self
