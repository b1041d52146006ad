"""What the pose auto-encoder must be able to show, as numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from unbraid.models.dpig.pose import present
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.step.distributed import gather_parts
from unbraid.trainers.systems.dpig.plausibility import CALIBRATION_IMAGES, PoseRange
from unbraid.trainers.systems.dpig.pose.model import Model


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """``keypoint/error_percent``: mean distance of rebuilt from real keypoints in % of the image's height, wherever both are.

    ``keypoint/mean_pose_percent``: the same of the mean training pose, which knows nothing of an image.
    ``keypoint/visibility``: share of keypoints whose visibility is right. ``plausible/…_percent``: share of poses within the
    range of training poses, of real held-out ones and of rebuilt ones.
    """
    seen = torch.cat(gather_parts([batch["keypoints"] for batch in data.training(CALIBRATION_IMAGES)], data.world))
    kept = [batch["keypoints"] for batch in data.held_out()]
    keypoints = torch.cat(gather_parts(kept, data.world))
    rebuilt = torch.cat(gather_parts([model.rebuild(of_batch) for of_batch in kept], data.world))
    scores = keypoint_errors(rebuilt, keypoints, model.size)
    of_mean = keypoint_errors(mean_pose(seen, model.size).expand_as(keypoints), keypoints, model.size)
    scores["keypoint/mean_pose_percent"] = of_mean["keypoint/error_percent"]
    of_training = PoseRange.of(seen, model.size)
    for name, poses in (("real", keypoints), ("rebuilt", rebuilt)):
        share = of_training.plausible(poses, model.size).float().mean().item()
        scores[f"plausible/{name}_percent"] = 100 * share
    return scores


def mean_pose(keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean place of each keypoint where it is present, (B, 18, 3) → (1, 18, 3); all of it counts as found."""
    there = present(keypoints, size).unsqueeze(2).to(keypoints.dtype)
    places = (keypoints[:, :, :2] * there).sum(0) / there.sum(0).clamp_min(1)
    return torch.cat([places, torch.ones_like(places[:, :1])], 1).unsqueeze(0)


def keypoint_errors(fake: Tensor, real: Tensor, size: tuple[int, int]) -> dict[str, float]:
    """See :func:`evaluate`."""
    there, shown = present(real, size), fake[:, :, 2] > 0.5
    both = there & shown
    distance = (fake[:, :, :2] - real[:, :, :2]).norm(dim=2)
    error = (distance * both).sum() / both.sum().clamp_min(1)
    return {
        "keypoint/error_percent": 100 * error.item() / size[0],
        "keypoint/visibility": (there == shown).float().mean().item(),
    }
