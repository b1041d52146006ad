"""Configuration of stage I; the defaults are the paper's and the reference code's for Market-1501."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import FACTORS, DecoderSpec, DiscriminatorSpec, DrawingSpec, EncoderSpec
from unbraid.trainers.config.schema import DataConfig, FormerName, ScheduleConfig, Section
from unbraid.trainers.systems.dpig.sections import PeopleConfig, PeopleNetworks


class NetworksConfig(PeopleNetworks):
    """Sizes of the networks; see :mod:`unbraid.models.dpig.specs` for each field."""

    drawing: DrawingSpec = DrawingSpec()
    encoder: EncoderSpec = EncoderSpec()
    decoder: DecoderSpec = DecoderSpec()
    discriminator: Annotated[DiscriminatorSpec, FormerName("critic")] = DiscriminatorSpec()


class LossConfig(Section):
    """Weights in the generator's loss: ``reconstruction`` · L1 + ``adversarial`` · L_adv; 0 leaves the discriminator out.

    The discriminator comes in at ``adversarial_from``, a share of ``run.updates``: earlier there is nothing for it to sharpen.
    """

    reconstruction: float = Field(20.0, gt=0)
    adversarial: float = Field(1.0, ge=0)
    adversarial_from: float = Field(0.0, ge=0, le=1)


class OptimConfig(ScheduleConfig):
    """Adam for the generator and for its discriminator."""

    lr_generator: Annotated[float, FormerName("lr_painter")] = Field(2e-5, gt=0)
    lr_discriminator: float = Field(2e-5, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    halve_every: int = Field(50_000, ge=0)


class Config(PeopleConfig):
    """Everything that decides a run of stage I."""

    watched: ClassVar[tuple[str, ...]] = ()
    primary_metric: ClassVar[tuple[str, str] | None] = ("rebuilt/ssim", "SSIM of held-out people rebuilt")

    system: Literal["dpig.appearance"] = "dpig.appearance"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=16)
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def measures(self) -> dict[str, bool]:
        quality = ("ssim", "l1", "psnr", "mask_ssim")
        factors = self.networks.encoder.factors
        exchanged = [factor for factor in factors if factor != "pose"]
        free = [f"rebuilt/{name}" for name in quality] + [f"swap/{factor}_ratio" for factor in exchanged]
        read = [f"transfer/{name}" for name in (*quality, "ssim_pg2", "mask_ssim_pg2")] + [
            f"truth/{factor}_ratio" for factor in exchanged
        ]
        if factors == FACTORS:
            read += [f"leakage/{row}_on_{column}" for row in factors for column in factors]
            read += ["leakage/off_diagonal", "leakage/diagonal"]
            read += [f"truth/{factor}_error_{side}" for factor in factors for side in ("inside", "outside")]
        return dict.fromkeys(free, False) | dict.fromkeys(read, True)

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        networks = self.networks
        if networks.image.channels != 3:
            raise ValueError(f"networks.image.channels={networks.image.channels}: people are in colour, 3 channels")
        networks.image.divided(1 << (networks.decoder.blocks - 1), "networks.decoder")
        networks.image.divided(1 << len(networks.discriminator.channels), "networks.discriminator")
        if networks.encoder.crop >> (networks.encoder.region_blocks - 1) < 1:
            raise ValueError(
                f"networks.encoder.crop={networks.encoder.crop} cannot be halved {networks.encoder.region_blocks - 1} times: "
                "use fewer region_blocks"
            )
        return self
