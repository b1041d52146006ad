"""Configuration of the pose auto-encoder; the defaults are the paper's and the reference code's for Market-1501."""

from typing import ClassVar, Literal

from pydantic import Field

from models.dpig_specs import PoseSpec
from trainers.config import DataConfig, Section
from trainers.dpig.sections import PeopleConfig, PeopleNetworks
from trainers.schedule import TrainingConfig


class NetworksConfig(PeopleNetworks):
    """The size of images, in which keypoints are given, and of the auto-encoder, see :mod:`models.dpig_specs`."""

    pose: PoseSpec = PoseSpec()


class LossConfig(Section):
    """``reconstruction`` · mean squared error of the pose vector."""

    reconstruction: float = Field(20.0, gt=0)


class OptimConfig(TrainingConfig):
    """Adam."""

    lr: float = Field(2e-5, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    halve_every: int = Field(50_000, ge=0)


class Config(PeopleConfig):
    """Everything that decides a run of the pose auto-encoder."""

    headline: ClassVar[tuple[str, str] | None] = ("keypoint/error_percent", "mean keypoint error in % of the height, held out")

    system: Literal["dpig.pose"] = "dpig.pose"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=64)
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def measures(self) -> dict[str, bool]:
        names = ("keypoint/error_percent", "keypoint/visibility", "plausible/real_percent", "plausible/rebuilt_percent")
        return dict.fromkeys(names, False)
