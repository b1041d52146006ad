"""Configuration of stage I; the defaults are the paper's and the reference code's for Market-1501."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from unbraid.models.dpig.specs import FACTORS, DecoderSpec, EncoderSpec
from unbraid.trainers.config.schema import LEAST_SSIM, Bounded, PrimaryMetric
from unbraid.trainers.config.sections import DataConfig
from unbraid.trainers.systems.dpig.sections import AdversarialConfig, AdversarialNetworks


class NetworksConfig(AdversarialNetworks):
    """Sizes of the networks; see :mod:`unbraid.models.dpig.specs` for each field."""

    encoder: EncoderSpec = EncoderSpec()
    decoder: DecoderSpec = DecoderSpec()


class Config(AdversarialConfig):
    """Everything that decides a run of stage I."""

    watched: ClassVar[tuple[str, ...]] = ()
    bounded: ClassVar[Mapping[str, Bounded]] = {"loss/l1": "error"}
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric("rebuilt/ssim", "SSIM of held-out people rebuilt")

    system: Literal["dpig.appearance"] = "dpig.appearance"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=16)
    networks: NetworksConfig = NetworksConfig()

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        similarity = scores.get("rebuilt/ssim", 1.0)
        return (
            f"rebuilt people do not resemble the real ones: rebuilt/ssim {similarity:.3f}" if similarity <= LEAST_SSIM else None
        )

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
        networks.image.divided(1 << (networks.decoder.blocks - 1), "networks.decoder")
        if networks.encoder.crop >> (networks.encoder.region_blocks - 1) < 1:
            raise ValueError(
                f"networks.encoder.crop={networks.encoder.crop} cannot be halved {networks.encoder.region_blocks - 1} times: "
                "use fewer region_blocks"
            )
        return self
