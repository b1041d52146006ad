"""Plausibility of poses: whether bones and joints lie within the range of training poses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unbraid.models.dpig.pose import bone_lengths, present

ABOVE = ((0, 1), (1, 8), (1, 11), (8, 9), (11, 12), (9, 10), (12, 13))
"""Joints of whom the first is above the second: nose, neck, hips, knees, ankles."""
CALIBRATION_IMAGES = 4000
"""Training images whose poses make the range."""
TOLERANCE = 0.1
"""By which a pose may be outside of the range that was seen, as a share of that range's end."""


@dataclass(frozen=True)
class PoseRange:
    """The range of training poses.

    Attributes:
        longest: (17,) longest length of each bone, in image heights; foreshortening makes any shorter one possible.
        lowest: (7,) least height of a joint above the next one in :data:`ABOVE`, in image heights; negative where a knee was
            seen above a hip.
        fewest: least number of keypoints found.
    """

    longest: Tensor
    lowest: Tensor
    fewest: int

    @classmethod
    def of(cls, keypoints: Tensor, size: tuple[int, int]) -> PoseRange:
        """The range of (N, 18, 3) keypoints, the most extreme 0.1 % at each end left out."""
        length, has = bone_lengths(keypoints, size)
        drop, falls = _drops(keypoints, size)
        longest = torch.stack([_quantile(length[:, i][has[:, i]], 0.999) for i in range(length.shape[1])])
        lowest = torch.stack([_quantile(drop[:, i][falls[:, i]], 0.001) for i in range(drop.shape[1])])
        return cls(longest, lowest, int(_quantile(present(keypoints, size).sum(1).float(), 0.001)))

    def plausible(self, keypoints: Tensor, size: tuple[int, int]) -> Tensor:
        """(N,) bool: every bone and every order that can be seen lies within the range, and enough can be seen."""
        length, has = bone_lengths(keypoints, size)
        drop, falls = _drops(keypoints, size)
        bones = ((length <= self.longest * (1 + TOLERANCE)) | ~has).all(1)
        order = ((drop >= self.lowest - TOLERANCE * self.lowest.abs()) | ~falls).all(1)
        return bones & order & (present(keypoints, size).sum(1) >= self.fewest)


def joint_deviations(keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """(18,) deviation of each joint's place over poses (N, 18, 3) in which it is found, in image heights.

    The mean pose is plausible too: it has no deviation.
    """
    there = present(keypoints, size).to(keypoints.dtype)[:, :, None]
    count = there.sum(0).clamp_min(1)
    places = keypoints[:, :, :2] / size[0]
    mean = (places * there).sum(0) / count
    return ((places - mean).square() * there).sum(0).div(count).sum(1).sqrt()


def _drops(keypoints: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    there = present(keypoints, size)
    upper, lower = [a for a, _ in ABOVE], [b for _, b in ABOVE]
    return (keypoints[:, lower, 0] - keypoints[:, upper, 0]) / size[0], there[:, upper] & there[:, lower]


def _quantile(values: Tensor, share: float) -> Tensor:
    return torch.quantile(values, share) if len(values) else values.new_zeros(())
