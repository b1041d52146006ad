"""Configuration of the pose auto-encoder; the defaults are the paper's and the reference code's for Market-1501."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from unbraid.models.dpig.specs import PoseSpec
from unbraid.trainers.config.schema import Bounded, PrimaryMetric
from unbraid.trainers.config.section import Section
from unbraid.trainers.config.sections import DataConfig, ScheduleConfig
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

    bounded: ClassVar[Mapping[str, Bounded]] = {"loss/pose": "error"}
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric(
        "keypoint/error_percent", "mean keypoint error in % of the height, held out", lower_is_better=True
    )

    system: Literal["dpig.pose"] = "dpig.pose"
    data: DataConfig = DataConfig(url="s3://unbraid/market1501", batch=64)
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        error, of_mean = scores.get("keypoint/error_percent", 0.0), scores.get("keypoint/mean_pose_percent", 100.0)
        if error >= of_mean:
            return f"rebuilt poses are no nearer than the mean pose: keypoint/error_percent {error:.2f}, mean {of_mean:.2f}"
        if scores.get("plausible/rebuilt_percent", 100.0) == 0:
            return "no rebuilt pose is plausible: plausible/rebuilt_percent 0"
        return None

    def measures(self) -> dict[str, bool]:
        keypoints = [f"keypoint/{name}" for name in ("error_percent", "mean_pose_percent", "visibility")]
        return dict.fromkeys([*keypoints, "plausible/real_percent", "plausible/rebuilt_percent"], False)
