"""Samples the factor *pose*: an articulated body that stands or walks, seen from any side, as 18 keypoints."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "right_hip",
    "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""In OpenPose's order."""
INDEX = {name: i for i, name in enumerate(KEYPOINTS)}
SIDES = ("right", "left")
MISSED = 0.02
"""Share of visible keypoints that a pose estimator fails to find."""

Joints = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Describes one pose seen by one camera. Lengths are in image heights, so that a pose fits any resolution of one shape.

    Attributes:
        joints: (18, 2) row and column.
        depth: (18,) towards the camera.
        found: (18,) whether a pose estimator finds the point, if nothing of the scene hides it.
        yaw: of the body in radians; 0 faces the camera, positive turns its left side away.
        head_yaw: of the head.
        height: of the body from sole to crown, in image heights.
    """

    joints: Joints
    depth: Joints
    found: NDArray[np.bool_]
    yaw: float
    head_yaw: float
    height: float


def sample_pose(rng: np.random.Generator, aspect: float) -> Pose:
    """Sample a pose of a walking or standing body, in a crop like that of a detector.

    Args:
        aspect: width of the image, in image heights.
    """
    body, head_yaw = _body(rng)
    yaw = float(rng.uniform(-math.pi, math.pi))
    pitch = float(rng.uniform(0.02, 0.25))
    turned = _turned(body, yaw)
    facial = [INDEX[name] for name in ("nose", "right_eye", "left_eye", "right_ear", "left_ear")]
    centre = body[INDEX["neck"]] + np.array((0.0, 0.085, 0.0))
    turned[facial] = _turned(_turned(body[facial] - centre, head_yaw) + centre, yaw)
    x, y, z = turned.T
    height = float(rng.uniform(0.83, 0.92))
    row = 0.965 + rng.uniform(-0.02, 0.015) - height * (y * math.cos(pitch) - z * math.sin(pitch))
    column = aspect * (0.5 + rng.uniform(-0.06, 0.06)) + height * (x - x[INDEX["neck"]] * 0.5)
    joints = np.stack([row, column], 1)
    inside = ((joints >= 0) & (joints < (1.0, aspect))).all(1)
    found = _visible(z, yaw, yaw + head_yaw, joints) & inside & (rng.random(len(KEYPOINTS)) >= MISSED)
    return Pose(joints, z, found, yaw, yaw + head_yaw, height)


def _body(rng: np.random.Generator) -> tuple[Joints, float]:
    """Sample (18, 3) joints, x to the body's left, y up, z forward, in body heights; and the yaw of the head."""
    stretch = rng.normal(1.0, 0.03, 4)
    thigh, shin = 0.245 * stretch[0], 0.235 * stretch[0]
    torso, shoulder = 0.30 * stretch[1], 0.108 * stretch[2]
    upper_arm, forearm = 0.165 * stretch[3], 0.15 * stretch[3]
    walking = rng.random() < 0.7
    swing = rng.uniform(0.2, 0.5) if walking else rng.uniform(0.0, 0.08)
    phase = rng.uniform(0, 2 * math.pi)
    lean = rng.uniform(-0.02, 0.08) if walking else rng.uniform(-0.03, 0.05)
    stance = rng.uniform(0.0, 0.05) if walking else rng.uniform(0.0, 0.1)
    body = np.zeros((len(KEYPOINTS), 3))
    lowest = 0.0
    for side, sign, beat in (("right", -1.0, phase), ("left", 1.0, phase + math.pi)):
        hip = np.array([sign * 0.052, 0.0, 0.0])
        forward = swing * math.sin(beat)
        bend = (0.9 * swing * max(math.cos(beat), 0.0) + 0.04) if walking else rng.uniform(0.0, 0.12)
        knee = hip + thigh * _swung(forward, sign * stance)
        ankle = knee + shin * _swung(forward - bend, sign * stance * 0.5)
        for joint, point in (("hip", hip), ("knee", knee), ("ankle", ankle)):
            body[INDEX[f"{side}_{joint}"]] = point
        lowest = min(lowest, ankle[1])
    body[:, 1] -= lowest - 0.045
    pelvis = body[[INDEX["right_hip"], INDEX["left_hip"]]].mean(0)
    neck = pelvis + np.array((0.0, torso * math.cos(lean), torso * math.sin(lean)))
    body[INDEX["neck"]] = neck
    gesture = rng.choice(4, p=(0.72, 0.1, 0.1, 0.08))
    for side, sign, beat in (("right", -1.0, phase + math.pi), ("left", 1.0, phase)):
        forward = 0.8 * swing * math.sin(beat) + rng.normal(0, 0.05)
        bend, spread = rng.uniform(0.1, 0.5), sign * rng.uniform(0.04, 0.16)
        if (gesture == 1 and side == "right") or gesture == 3:  # holds something before the chest
            forward, bend = rng.uniform(0.1, 0.4), rng.uniform(1.5, 2.2)
        elif gesture == 2 and side == "left":  # a hand at the ear
            forward, bend = rng.uniform(0.5, 0.9), rng.uniform(2.1, 2.5)
        shoulder_at = neck + np.array((sign * shoulder, -0.022, 0.0))
        elbow = shoulder_at + upper_arm * _swung(forward, spread)
        wrist = elbow + forearm * _swung(forward + bend, spread * (0.2 if bend > 1 else 0.8))
        for joint, point in (("shoulder", shoulder_at), ("elbow", elbow), ("wrist", wrist)):
            body[INDEX[f"{side}_{joint}"]] = point
    head = neck + np.array((0.0, 0.085, 0.012))
    body[INDEX["nose"]] = head + np.array((0.0, -0.006, 0.056))
    for side, sign in (("right", -1.0), ("left", 1.0)):
        body[INDEX[f"{side}_eye"]] = head + np.array((sign * 0.018, 0.012, 0.05))
        body[INDEX[f"{side}_ear"]] = head + np.array((sign * 0.042, 0.0, 0.0))
    return body, float(rng.normal(0, 0.25))


def _swung(forward: float, sideways: float) -> Joints:
    """Return the direction of a hanging limb after swinging it by two angles."""
    return np.array([math.sin(sideways), -math.cos(forward) * math.cos(sideways), math.sin(forward) * math.cos(sideways)])


def _turned(points: Joints, yaw: float) -> Joints:
    x, y, z = points.T
    c, s = math.cos(yaw), math.sin(yaw)
    return np.stack([x * c + z * s, y, z * c - x * s], 1)


def _visible(depth: Joints, yaw: float, head_yaw: float, joints: Joints) -> NDArray[np.bool_]:
    """Return (18,): whether the body itself does not hide the point."""
    seen = np.ones(len(KEYPOINTS), bool)
    facing, turned = math.cos(head_yaw), math.sin(head_yaw)
    seen[INDEX["nose"]] = facing > -0.15
    for side, sign in (("right", -1.0), ("left", 1.0)):
        # the side of the head at which an ear or an eye sits points to the camera when this is positive
        towards = -sign * turned
        seen[INDEX[f"{side}_eye"]] = facing + 0.35 * towards > 0.1
        seen[INDEX[f"{side}_ear"]] = towards > -0.55
        shoulder = depth[INDEX[f"{side}_shoulder"]] - depth[INDEX["neck"]]
        column = joints[INDEX["neck"], 1]
        for joint in ("elbow", "wrist"):
            behind = shoulder < -0.09 and abs(joints[INDEX[f"{side}_{joint}"], 1] - column) < 0.04
            seen[INDEX[f"{side}_{joint}"]] = not behind
    return seen
