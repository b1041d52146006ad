"""Computes every factor of every synthetic image from a few integers."""

from dataclasses import dataclass

import numpy as np

from unbraid.datasets.synthetic.people.appearance import Appearance, sample_appearance
from unbraid.datasets.synthetic.people.render import Rendering, render
from unbraid.datasets.synthetic.people.scene import Background, sample_background
from unbraid.datasets.synthetic.people.skeleton import Pose, sample_pose

VERSION = 1
"""Changes when a number is drawn differently; a packed set records the version that drew it."""
CAMERA = 1_000_000
"""A background's number is its camera's number times this, plus the number of the cut from the camera's view."""
NOISE = 1.5
"""Standard deviation of the sensor's noise, in 255ths."""


@dataclass(frozen=True)
class Population:
    """Maps numbers to identities, backgrounds and poses, and draws any combination of them.

    Attributes:
        seed: of all factors.
        height, width: of images, in pixels.
    """

    seed: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    def foreground(self, number: int) -> Appearance:
        """Sample the identity of a number."""
        return sample_appearance(np.random.default_rng([self.seed, 2, number]))

    def background(self, number: int) -> Background:
        """Sample the background of a number."""
        rng = np.random.default_rng([self.seed, 3, number])
        return sample_background(rng, self.seed, number // CAMERA, self.width / self.height)

    def pose(self, number: int) -> Pose:
        """Sample the pose of a number."""
        return sample_pose(np.random.default_rng([self.seed, 4, number]), self.width / self.height)

    def render(self, foreground: int, background: int, pose: int) -> Rendering:
        """Draw a combination of numbers without the camera's noise."""
        return render(self.foreground(foreground), self.background(background), self.pose(pose), self.size)

    def photograph(self, foreground: int, background: int, pose: int) -> Rendering:
        """Draw a combination of numbers as a camera records it: with noise, which depends on the pose's number."""
        clean = self.render(foreground, background, pose)
        noise = np.random.default_rng([self.seed, 5, pose]).normal(0, NOISE, clean.image.shape)
        noisy = np.clip(clean.image + noise + 0.5, 0, 255).astype(np.uint8)
        return Rendering(noisy, clean.silhouette, clean.keypoints)
