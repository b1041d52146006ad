"""Configuration of PG² (Ma et al., NIPS 2017), as a baseline of equal size: what is not its own is as in DPIG's stage I."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import PosedSpec
from unbraid.trainers.config.schema import LEAST_SSIM, BatchField, Bounded, PrimaryMetric, SystemConfig
from unbraid.trainers.config.sections import DataConfig
from unbraid.trainers.systems.dpig.sections import AdversarialConfig, AdversarialLoss, AdversarialNetworks


class NetworksConfig(AdversarialNetworks):
    """Sizes of the networks; see :mod:`unbraid.models.dpig.specs` for each field."""

    generator: PosedSpec = PosedSpec()


class LossConfig(AdversarialLoss):
    """As stage I's; in L1, pixels under the target's body mask weigh 1 + ``mask``, all others 1."""

    mask: float = Field(1.0, ge=0)


class Config(AdversarialConfig):
    """Everything that decides a run of PG².

    Attributes:
        images_per_pair: an update learns from one pair of images of one person for so many images of ``data.batch``. Pairs
            are found among the images of a batch, so that few images have few pairs: see the scalar ``pairs/found``.
    """

    truth_fields: ClassVar[tuple[str, ...]] = ("background", "pose")
    bounded: ClassVar[Mapping[str, Bounded]] = {"loss/l1": "error"}
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric("transfer/ssim", "SSIM of held-out people in another pose")

    system: Literal["dpig.pg2"] = "dpig.pg2"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=256)
    images_per_pair: Annotated[int, Field(ge=2)] = 16
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()

    def training_fields(self) -> dict[str, BatchField]:
        return {**super().training_fields(), "person": BatchField("integer", ())}

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        similarity = scores.get("transfer/ssim", 1.0)
        return (
            f"people in another pose do not resemble the real ones: transfer/ssim {similarity:.3f}"
            if similarity <= LEAST_SSIM
            else None
        )

    def measures(self) -> dict[str, bool]:
        names = ("ssim", "l1", "psnr", "mask_ssim", "ssim_pg2", "mask_ssim_pg2")
        return {f"transfer/{name}": False for name in names}

    def require_inputs(self) -> dict[str, SystemConfig]:
        """Check that the training split has pairs; a run of PG² starts from no other.

        Raises:
            DataError: when nobody is seen twice.
        """
        from unbraid.trainers.systems.dpig.pg2.pairs import require_pairs

        require_pairs(self.data)
        return {}

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        self.networks.image.divided(1 << (self.networks.generator.blocks - 1), "networks.generator")
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
