"""Whole data sets of people: every factor of every image follows from a few integers."""

from dataclasses import dataclass

import numpy as np

from unbraid.datasets.synthetic.people.appearance import Appearance, sample_appearance
from unbraid.datasets.synthetic.people.render import Rendering, render
from unbraid.datasets.synthetic.people.scene import Background, sample_background
from unbraid.datasets.synthetic.people.skeleton import Pose, sample_pose

VERSION = 1
"""Of what a number means; a set tells which it was drawn with."""
CAMERA = 1_000_000
"""A background's number is its camera's times this, plus which cut of the view it is."""
NOISE = 1.5
"""Standard deviation of the sensor's noise, in 255ths."""


@dataclass(frozen=True)
class Population:
    """Everybody, everywhere, in every pose; each by a number.

    Attributes:
        seed: another one is another population.
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
        """One identity."""
        return sample_appearance(np.random.default_rng([self.seed, 2, number]))

    def background(self, number: int) -> Background:
        """One place."""
        rng = np.random.default_rng([self.seed, 3, number])
        return sample_background(rng, self.seed, number // CAMERA, self.width / self.height)

    def pose(self, number: int) -> Pose:
        """One posture."""
        return sample_pose(np.random.default_rng([self.seed, 4, number]), self.width / self.height)

    def render(self, foreground: int, background: int, pose: int) -> Rendering:
        """The truth of any combination, without the camera's noise."""
        return render(self.foreground(foreground), self.background(background), self.pose(pose), self.size)

    def photograph(self, foreground: int, background: int, pose: int) -> Rendering:
        """The same as a camera takes it: with noise, which depends on the pose's number."""
        clean = self.render(foreground, background, pose)
        noise = np.random.default_rng([self.seed, 5, pose]).normal(0, NOISE, clean.image.shape)
        noisy = np.clip(clean.image + noise + 0.5, 0, 255).astype(np.uint8)
        return Rendering(noisy, clean.silhouette, clean.keypoints)
