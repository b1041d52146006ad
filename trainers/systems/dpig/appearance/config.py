"""Configuration of stage I; the defaults are the paper's and the reference code's for Market-1501."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import CriticSpec, DecoderSpec, DrawingSpec, EncoderSpec
from unbraid.trainers.config.schema import DataConfig, ScheduleConfig, Section
from unbraid.trainers.systems.dpig.sections import PeopleConfig, PeopleNetworks


class NetworksConfig(PeopleNetworks):
    """Sizes of the networks; see :mod:`unbraid.models.dpig.specs` for each field."""

    drawing: DrawingSpec = DrawingSpec()
    encoder: EncoderSpec = EncoderSpec()
    decoder: DecoderSpec = DecoderSpec()
    critic: CriticSpec = CriticSpec()


class LossConfig(Section):
    """Weights in the loss of the painter: ``reconstruction`` · L1 + ``adversarial`` · L_adv; 0 leaves the critic out.

    The critic comes in at ``adversarial_from``, a share of ``run.updates``: before, there is nothing that it could sharpen.
    """

    reconstruction: float = Field(20.0, gt=0)
    adversarial: float = Field(1.0, ge=0)
    adversarial_from: float = Field(0.0, ge=0, le=1)


class OptimConfig(ScheduleConfig):
    """Adam for the painter and for its critic."""

    lr_painter: float = Field(2e-5, gt=0)
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
        factors = ("foreground", "background", "pose")
        free = [f"rebuilt/{name}" for name in quality] + ["swap/background_ratio", "swap/foreground_ratio"]
        read = [f"transfer/{name}" for name in quality]
        read += [f"leakage/{row}_on_{column}" for row in factors for column in factors]
        read += ["leakage/off_diagonal", "leakage/diagonal", "truth/background_ratio", "truth/foreground_ratio"]
        read += [f"truth/{factor}_error_{side}" for factor in factors for side in ("inside", "outside")]
        return dict.fromkeys(free, False) | dict.fromkeys(read, True)

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        networks = self.networks
        if networks.image.channels != 3:
            raise ValueError(f"networks.image.channels={networks.image.channels}: people are in colour, 3 channels")
        networks.image.divided(1 << (networks.decoder.blocks - 1), "networks.decoder")
        networks.image.divided(1 << len(networks.critic.channels), "networks.critic")
        if networks.encoder.crop >> (networks.encoder.region_blocks - 1) < 1:
            raise ValueError(
                f"networks.encoder.crop={networks.encoder.crop} cannot be halved {networks.encoder.region_blocks - 1} times: "
                "use fewer region_blocks"
            )
        return self
