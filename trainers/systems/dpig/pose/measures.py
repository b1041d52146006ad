"""What the pose auto-encoder must be able to show, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unbraid.models.dpig.embeddings import PoseAutoencoder
from unbraid.models.dpig.pose import keypoints_of, pose_vectors, present
from unbraid.trainers.system import Batch

if TYPE_CHECKING:
    from unbraid.trainers.systems.dpig.pose.system import PoseSystem


def evaluate(system: PoseSystem, batches: Iterable[Batch]) -> dict[str, float]:
    """``keypoint/error_percent``: mean distance of rebuilt from real keypoints in % of the image's height, wherever both are.

    ``keypoint/visibility``: share of keypoints whose visibility is right. ``plausible/…_percent``: share of poses within the
    range of training poses, of real held-out ones and of rebuilt ones.
    """
    keypoints = torch.cat([batch["keypoints"] for batch in batches])
    rebuilt = rebuilt_poses(system.average, keypoints, system.size)
    scores = keypoint_errors(rebuilt, keypoints, system.size)
    if system.range is not None:
        for name, poses in (("real", keypoints), ("rebuilt", rebuilt)):
            share = system.range.plausible(poses, system.size).float().mean().item()
            scores[f"plausible/{name}_percent"] = 100 * share
    return scores


@torch.no_grad()
def rebuilt_poses(autoencoder: PoseAutoencoder, keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, 18, 3) through the embedding and back."""
    return keypoints_of(autoencoder(pose_vectors(keypoints, size)), size)


def keypoint_errors(made: Tensor, real: Tensor, size: tuple[int, int]) -> dict[str, float]:
    """See :func:`evaluate`."""
    there, shown = present(real, size), made[:, :, 2] > 0.5
    both = there & shown
    distance = (made[:, :, :2] - real[:, :, :2]).norm(dim=2)
    error = (distance * both).sum() / both.sum().clamp_min(1)
    return {
        "keypoint/error_percent": 100 * error.item() / size[0],
        "keypoint/visibility": (there == shown).float().mean().item(),
    }
