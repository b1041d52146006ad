"""Draws any foreground in any pose before any background, as a small surveillance camera records it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.synthetic.people.appearance import Appearance
from unbraid.datasets.synthetic.people.drawing import Canvas, Floats, Patch, cloth, paint, spindle
from unbraid.datasets.synthetic.people.scene import Background, draw_background
from unbraid.datasets.synthetic.people.skeleton import KEYPOINTS, SIDES, Pose

FINEST = 128
"""Fewest rows that an image is drawn with; smaller ones are scaled down from them, because patterns would alias."""
Points = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Rendering:
    """Holds one image, its silhouette and its keypoints.

    Attributes:
        image: (H, W, 3) uint8.
        silhouette: (H, W) float32, share of each pixel that shows the body.
        keypoints: (18, 3) float32 as a pose estimator reports them: row, column in pixels, 1; or -1, -1, 0 if not found.
    """

    image: NDArray[np.uint8]
    silhouette: Floats
    keypoints: Floats


def render(foreground: Appearance, background: Background, pose: Pose, size: tuple[int, int]) -> Rendering:
    """Draw one combination of factors.

    Args:
        size: (H, W) of the image.
    """
    times = max(1, -(-FINEST // size[0]))
    height, width = size[0] * times, size[1] * times
    canvas = Canvas(draw_background(background, height, width).copy(), np.zeros((height, width), np.float32))
    _Body(canvas, foreground, pose, height).draw()
    if background.occluder is not None:
        column, half, high, grey = (v * height for v in background.occluder)
        patch = spindle(canvas.pixels.shape, (height - high, column), (height + half, column), (half, half), 4.0)
        paint(canvas, patch, np.full(3, grey / height, np.float32), belongs=False)
    pixels, silhouette = _soften(canvas.pixels), canvas.silhouette
    if times > 1:
        pixels = pixels.reshape(size[0], times, size[1], times, 3).mean((1, 3))
        silhouette = silhouette.reshape(size[0], times, size[1], times).mean((1, 3))
    image = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Rendering(image, silhouette, _keypoints(pose, background, size))


def _keypoints(pose: Pose, background: Background, size: tuple[int, int]) -> Floats:
    keypoints = np.concatenate([pose.joints * size[0] - 0.5, np.ones((len(pose.joints), 1))], 1).astype(np.float32)
    found = pose.found.copy()
    if background.occluder is not None:
        column, half, high, _ = background.occluder
        found &= ~((np.abs(pose.joints[:, 1] - column) < half) & (pose.joints[:, 0] > 1 - high))
    keypoints[~found] = (-1, -1, 0)
    return keypoints


def _soften(pixels: Floats) -> Floats:
    """Blur as a cheap lens does: with three taps in each direction."""
    soft = pixels.copy()
    soft[1:-1] = 0.64 * pixels[1:-1] + 0.18 * (pixels[:-2] + pixels[2:])
    out = soft.copy()
    out[:, 1:-1] = 0.64 * soft[:, 1:-1] + 0.18 * (soft[:, :-2] + soft[:, 2:])
    return out


class _Body:
    """Draws the parts of one body, from the farthest to the nearest."""

    def __init__(self, canvas: Canvas, who: Appearance, pose: Pose, height: int) -> None:
        self.canvas = canvas
        self.who = who
        self.pose = pose
        self.unit = pose.height * height
        """Height of the body in pixels."""
        self.points: Points = {
            name: (float(r) * height - 0.5, float(c) * height - 0.5)
            for name, (r, c) in zip(KEYPOINTS, pose.joints, strict=True)
        }
        self.depth = dict(zip(KEYPOINTS, pose.depth.tolist(), strict=True))
        self.pelvis = self._between("right_hip", "left_hip")
        self.side = math.sin(pose.yaw)
        """Sine of the yaw: 0 from the front or the back, ±1 from a side; positive turns the front to the right of the image."""

    def draw(self) -> None:
        """Draw all parts onto the canvas."""
        self._shadow()
        far, near = sorted(SIDES, key=lambda side: self.depth[f"{side}_hip"])
        far_arm, near_arm = sorted(SIDES, key=lambda side: self.depth[f"{side}_shoulder"])
        from_behind = math.cos(self.pose.yaw) < 0
        if not from_behind:
            self._backpack()
        self._arm(far_arm, abs(self.side) > 0.3)
        self._leg(far)
        self._leg(near)
        self._skirt()
        if from_behind:
            self._neck_and_head()
        else:
            self._long_hair()
        self._torso()
        if from_behind:
            self._backpack()
            self._long_hair()
        else:
            self._neck_and_head()
        self._shoulder_bag()
        if not abs(self.side) > 0.3:
            self._arm(far_arm, False)
        self._arm(near_arm, False)

    def _shadow(self) -> None:
        for side in SIDES:
            row, column = self.points[f"{side}_ankle"]
            patch = self._part(
                (row + 0.04 * self.unit, column - 0.07 * self.unit),
                (row + 0.04 * self.unit, column + 0.09 * self.unit),
                (0.022, 0.03, 0.022),
            )
            if patch is not None:
                fall = patch.cover * (1 - np.abs(patch.across)) * (1 - np.abs(2 * patch.along - 1))
                self.canvas.pixels[patch.box] *= 1 - 0.6 * fall[..., None]

    def _leg(self, side: str) -> None:
        who, girth = self.who, self.who.girth
        hip, knee, ankle = (self.points[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        covered = who.lower == "trousers"
        self._shoe(side, ankle)
        dim = np.float32(0.82 if self.depth[f"{side}_hip"] < self.depth["neck"] - 0.005 else 1.0)
        shin = self._part(knee, ankle, (0.034 * girth, 0.036 * girth, 0.024 if not covered else 0.03 * girth))
        if shin is not None:
            paint(self.canvas, shin, dim * (cloth(who.lower_garment, shin, self.pose.yaw, 0.8) if covered else who.skin))
        thigh = self._part(hip, knee, (0.058 * girth, 0.05 * girth, 0.036 * girth))
        if thigh is None:
            return
        fabric = cloth(who.lower_garment, thigh, self.pose.yaw, 0.8)
        if who.lower == "shorts":
            fabric = np.where((thigh.along < 2 * who.hem)[..., None], fabric, who.skin)
        paint(self.canvas, thigh, dim * (who.skin if who.lower == "skirt" else fabric))

    def _shoe(self, side: str, ankle: tuple[float, float]) -> None:
        row, column = ankle
        toe = (row + 0.034 * self.unit, column + 0.055 * self.unit * self.side)
        paint(self.canvas, self._part((row + 0.022 * self.unit, column), toe, (0.024, 0.021)), self.who.shoes)

    def _skirt(self) -> None:
        if self.who.lower != "skirt":
            return
        legs = [self.points[f"{side}_knee"] for side in SIDES]
        row, column = (sum(p[i] for p in legs) / 2 for i in range(2))
        spread = abs(legs[0][1] - legs[1][1]) / (2 * self.unit)
        hem = 1.6 * self.who.hem
        end = (self.pelvis[0] + hem * (row - self.pelvis[0]), self.pelvis[1] + hem * (column - self.pelvis[1]))
        top = 0.085 * self.who.girth
        patch = self._part(self.pelvis, end, (top, max(top * self.who.flare, hem * spread + 0.05)), 5.0)
        if patch is not None:
            paint(self.canvas, patch, cloth(self.who.lower_garment, patch, self.pose.yaw, 0.7))

    def _torso(self) -> None:
        who, girth = self.who, self.who.girth
        right, left = self.points["right_shoulder"], self.points["left_shoulder"]
        shoulders = abs(right[1] - left[1]) / (2 * self.unit)
        breadth = max(shoulders + 0.018, (0.062 + 0.05 * abs(self.side)) * girth)
        waist = max(0.8 * shoulders, 0.07) * girth
        hips = max(abs(self.points["right_hip"][1] - self.points["left_hip"][1]) / (2 * self.unit) + 0.035, 0.072) * girth
        neck = self.points["neck"]
        start = (neck[0] + 0.028 * self.unit, neck[1])
        down = 1.06 + who.coat
        end = (start[0] + down * (self.pelvis[0] - start[0]), start[1] + down * (self.pelvis[1] - start[1]))
        widths = (0.75 * breadth, breadth, 0.92 * breadth, waist, hips, hips * (1 + 0.25 * min(who.coat, 0.4)))
        patch = self._part(start, end, widths, 3.5)
        if patch is not None:
            paint(self.canvas, patch, cloth(who.upper, patch, self.pose.yaw))

    def _arm(self, side: str, far: bool) -> None:
        who, girth = self.who, self.who.girth
        shoulder, elbow, wrist = (self.points[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        dim = np.float32(0.75 if far else 0.93)
        forearm = self._part(elbow, wrist, (0.026 * girth, 0.019 * girth))
        if forearm is not None:
            paint(self.canvas, forearm, dim * (cloth(who.upper, forearm, self.pose.yaw, 0.5) if who.sleeve == 1 else who.skin))
        hand = (wrist[0] + 0.2 * (wrist[0] - elbow[0]), wrist[1] + 0.2 * (wrist[1] - elbow[1]))
        paint(self.canvas, self._part(wrist, hand, (0.018, 0.014)), dim * who.skin)
        upper = self._part(shoulder, elbow, (0.03 * girth, 0.031 * girth, 0.026 * girth))
        if upper is not None:
            fabric = cloth(who.upper, upper, self.pose.yaw, 0.55)
            bare = (upper.along > 2 * who.sleeve)[..., None]
            paint(self.canvas, upper, dim * np.where(bare, who.skin, fabric))
        if who.bag == "hand" and (side == "left") == who.bag_left:
            bag = (hand[0] + 0.02 * self.unit, hand[1]), (hand[0] + 0.1 * self.unit, hand[1])
            paint(self.canvas, self._part(*bag, (0.03, 0.045), 3.0), who.bag_colour)

    def _neck_and_head(self) -> None:
        who = self.who
        neck, ears = self.points["neck"], self._between("right_ear", "left_ear")
        paint(self.canvas, self._part(neck, ears, (0.027, 0.025)), who.skin * np.float32(0.85))
        crown = (ears[0] - 0.048 * self.unit, ears[1])
        chin = (ears[0] + 0.036 * self.unit, ears[1])
        skull = self._part(crown, chin, (0.036, 0.049, 0.046, 0.031), 1.2)
        if skull is None:
            return
        turn = np.arcsin(skull.across) - np.float32(self.pose.head_yaw)
        hairline = 0.28 if who.hair != "cap" else 0.36
        is_face = (np.cos(turn) > 0.3) & (skull.along > hairline)
        is_skin = is_face | (who.hair == "bald") | ((skull.along > 0.8) & (who.hair != "long"))
        covering = who.cap_colour if who.hair == "cap" else who.hair_colour
        colour = np.where(is_skin[..., None], who.skin, covering)
        eyes = (np.abs(np.abs(turn) - 0.38) < 0.14) & (np.abs(skull.along - 0.52) < 0.07) & (np.cos(turn) > 0.3)
        colour = np.where(eyes[..., None], np.float32(0.35) * who.skin, colour)
        paint(self.canvas, skull, colour.astype(np.float32))
        if who.hair == "cap" and math.cos(self.pose.head_yaw) > -0.3:
            peak = math.sin(self.pose.head_yaw)
            row = ears[0] - 0.022 * self.unit
            tip = (row + 0.006 * self.unit, ears[1] + 0.085 * self.unit * peak)
            paint(self.canvas, self._part((row, ears[1]), tip, (0.018, 0.012)), who.cap_colour)

    def _long_hair(self) -> None:
        if self.who.hair != "long":
            return
        ears = self._between("right_ear", "left_ear")
        back = -0.03 * math.sin(self.pose.head_yaw) * self.unit
        start, end = (ears[0] - 0.01 * self.unit, ears[1] + 0.5 * back), (ears[0] + 0.12 * self.unit, ears[1] + back)
        paint(self.canvas, self._part(start, end, (0.05, 0.056, 0.045)), self.who.hair_colour)

    def _backpack(self) -> None:
        if self.who.bag != "backpack":
            return
        neck = self.points["neck"]
        shift = -0.085 * self.side * self.unit
        start, end = (neck[0] + 0.05 * self.unit, neck[1] + shift), (neck[0] + 0.23 * self.unit, self.pelvis[1] + shift)
        width = 0.085 - 0.03 * abs(self.side)
        paint(self.canvas, self._part(start, end, (0.8 * width, width, width), 2.5), self.who.bag_colour)

    def _shoulder_bag(self) -> None:
        if self.who.bag != "shoulder":
            return
        side, other = ("left", "right") if self.who.bag_left else ("right", "left")
        hip, shoulder = self.points[f"{side}_hip"], self.points[f"{other}_shoulder"]
        outwards = 0.06 * self.unit * (1 if hip[1] >= self.pelvis[1] else -1) * max(abs(math.cos(self.pose.yaw)), 0.3)
        at = (hip[0] - 0.02 * self.unit, hip[1] + outwards)
        paint(self.canvas, self._part(shoulder, at, (0.011, 0.011)), self.who.bag_colour)
        if self.depth[f"{side}_hip"] > self.depth["neck"] - 0.04:
            paint(self.canvas, self._part(at, (at[0] + 0.1 * self.unit, at[1]), (0.045, 0.055), 3.0), self.who.bag_colour)

    def _between(self, a: str, b: str) -> tuple[float, float]:
        (row_a, column_a), (row_b, column_b) = self.points[a], self.points[b]
        return (row_a + row_b) / 2, (column_a + column_b) / 2

    def _part(
        self, start: tuple[float, float], end: tuple[float, float], widths: tuple[float, ...], flat: float = 1.0
    ) -> Patch | None:
        """Shape a spindle whose half widths are in body heights."""
        return spindle(self.canvas.pixels.shape, start, end, [w * self.unit for w in widths], flat)
