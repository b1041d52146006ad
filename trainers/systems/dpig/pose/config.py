"""Configuration of the pose auto-encoder; the defaults are the paper's and the reference code's for Market-1501."""

from typing import ClassVar, Literal

from pydantic import Field

from unbraid.models.dpig.specs import PoseSpec
from unbraid.trainers.config.schema import DataConfig, ScheduleConfig, Section
from unbraid.trainers.systems.dpig.sections import PeopleConfig, PeopleNetworks


class NetworksConfig(PeopleNetworks):
    """The size of images, in which keypoints are given, and of the auto-encoder, see :mod:`unbraid.models.dpig.specs`."""

    pose: PoseSpec = PoseSpec()


class LossConfig(Section):
    """``reconstruction`` · mean squared error of the pose vector.

    Attributes:
        missing: whether coordinates of missing keypoints are ``counted``, as published, or ``left_out``. They have no true
            place: where the decoder learns a fixed one, embeddings between "missing" and "visible" are decoded to places on the
            way there.
    """

    reconstruction: float = Field(20.0, gt=0)
    missing: Literal["counted", "left_out"] = "counted"


class OptimConfig(ScheduleConfig):
    """Adam."""

    lr: float = Field(2e-5, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    halve_every: int = Field(50_000, ge=0)


class Config(PeopleConfig):
    """Everything that decides a run of the pose auto-encoder."""

    primary_metric: ClassVar[tuple[str, str] | None] = (
        "keypoint/error_percent",
        "mean keypoint error in % of the height, held out",
    )

    system: Literal["dpig.pose"] = "dpig.pose"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=64)
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def measures(self) -> dict[str, bool]:
        names = ("keypoint/error_percent", "keypoint/visibility", "plausible/real_percent", "plausible/rebuilt_percent")
        return dict.fromkeys(names, False)
