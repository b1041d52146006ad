"""Which measures mean that a system has learnt nothing, and which do not."""

import pytest
import torch

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.systems.dpig.pose.measures import keypoint_errors, mean_pose

LEARNT = [
    ("infogan-mnist", {"info/share": 0.9, "code/accuracy": 0.95}),
    ("infogan-mnist-plain", {"info/share": 0.0, "code/accuracy": 0.11}),  # its codes are to say nothing
    ("cdd-mnist-cdcb-small", {"retrieval/shared_recall_1": 0.02}),
    ("cdd-mnist-cdcb-small-without-shared", {"retrieval/shared_recall_1": 0.0}),
    ("pix2pix-mnist-cdcb-small", {"translated/ssim": 0.3}),
    ("dpig-people-small-appearance", {"rebuilt/ssim": 0.4}),
    ("pg2-people-small", {"transfer/ssim": 0.4}),
    (
        "dpig-people-small-pose",
        {"keypoint/error_percent": 0.7, "keypoint/mean_pose_percent": 9.0, "plausible/rebuilt_percent": 90.0},
    ),
    ("dpig-people-small-mapping", {"frechet/mean_ratio": 0.2, "plausible/sampled_percent": 80.0}),
]
NOT_LEARNT = [
    ("infogan-mnist", {"info/share": 0.01}, "the codes say nothing of the images"),
    ("infogan-mnist", {"info/share": 0.9, "code/accuracy": 0.14}, "no better than chance"),
    ("cdd-mnist-cdcb-small", {"retrieval/shared_recall_1": 0.008}, "S finds no partner"),
    ("pix2pix-mnist-cdcb-small", {"translated/ssim": 0.05}, "do not resemble"),
    ("dpig-people-small-appearance", {"rebuilt/ssim": 0.02}, "do not resemble"),
    ("pg2-people-small", {"transfer/ssim": -0.1}, "do not resemble"),
    (
        "dpig-people-small-pose",
        {"keypoint/error_percent": 11933.0, "keypoint/mean_pose_percent": 9.0, "plausible/rebuilt_percent": 0.0},
        "no nearer than the mean pose: keypoint/error_percent 11933.00",
    ),
    (
        "dpig-people-small-pose",
        {"keypoint/error_percent": 5.0, "keypoint/mean_pose_percent": 9.0, "plausible/rebuilt_percent": 0.0},
        "plausible",
    ),
    ("dpig-people-small-mapping", {"frechet/mean_ratio": 1.2}, "no nearer to real ones than shuffled"),
    (
        "dpig-people-small-mapping",
        {"frechet/mean_ratio": 0.5, "plausible/sampled_percent": 0.0},
        "no sampled pose is plausible",
    ),
]


@pytest.mark.parametrize(("preset", "scores"), LEARNT)
def test_a_run_that_has_learnt_something_is_none(preset: str, scores: dict[str, float]) -> None:
    assert resolve(preset).nothing_learnt(scores) is None


@pytest.mark.parametrize(("preset", "scores", "words"), NOT_LEARNT)
def test_a_run_whose_measures_are_at_chance_has_learnt_nothing(preset: str, scores: dict[str, float], words: str) -> None:
    assert words in (resolve(preset).nothing_learnt(scores) or "")


@pytest.mark.parametrize("preset", [name for name in preset_names() if not is_pipeline(name)])
def test_measures_that_were_not_taken_say_nothing(preset: str) -> None:
    assert resolve(preset).nothing_learnt({}) is None


def test_the_measures_that_decide_are_reported() -> None:
    for preset, scores in [*LEARNT, *((preset, scores) for preset, scores, _ in NOT_LEARNT)]:
        assert scores.keys() <= resolve(preset).measures().keys(), preset


def test_the_mean_pose_is_of_the_keypoints_that_are_there() -> None:
    """Two poses, of which the second lacks its first keypoint: its place counts in no mean, and in no error."""
    poses = torch.ones(2, 18, 3)
    poses[0, :, :2], poses[1, :, :2] = 2.0, 4.0
    poses[1, 0] = torch.tensor([9.0, 9.0, 0.0])
    mean = mean_pose(poses, (10, 10))
    assert mean.shape == (1, 18, 3)
    assert mean[0, 0].tolist() == [2, 2, 1]
    assert mean[0, 1].tolist() == [3, 3, 1]
    error = keypoint_errors(mean.expand_as(poses), poses, (10, 10))["keypoint/error_percent"]
    assert error == pytest.approx(100 * 2**0.5 * 34 / 35 / 10)
