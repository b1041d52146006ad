"""What is computed from keypoints at the edges of its definitions, and the skeleton by the names of its joints."""

import math

import pytest
import torch
from torch import Tensor

from tests.models.dpig.test_pose import SIZE, nobody, somebody
from unbraid.models.dpig.pose import (
    BONES,
    KEYPOINTS,
    LIMBS,
    MIRRORED,
    POSE_WIDTH,
    REGIONS,
    body_mask,
    bone_lengths,
    crop_regions,
    flip_keypoints,
    heat_maps,
    keypoints_of,
    pose_vectors,
    present,
    region_boxes,
)

JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "right hip",
    "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
"""OpenPose's order."""


def at(**places: tuple[float, float]) -> Tensor:
    """One pose of the named joints: (row, column) each."""
    keypoints = nobody()
    for name, place in places.items():
        keypoints[0, JOINTS.index(name.replace("_", " "))] = torch.tensor([*place, 1.0])
    return keypoints


def test_bones_are_openposes_skeleton() -> None:
    """Both sides' arms, legs and faces, from the neck outwards; the mask also has the trunk's sides and the ears' line."""
    sides = ("right", "left")
    skeleton = {("neck", "nose")}
    for side in sides:
        skeleton |= {("neck", f"{side} shoulder"), ("neck", f"{side} hip"), ("nose", f"{side} eye"), ("neck", f"{side} ear")}
        skeleton |= {(f"{side} shoulder", f"{side} elbow"), (f"{side} elbow", f"{side} wrist")}
        skeleton |= {(f"{side} hip", f"{side} knee"), (f"{side} knee", f"{side} ankle"), (f"{side} eye", f"{side} ear")}
    trunk = {("right hip", "left hip"), ("left hip", "left shoulder"), ("right hip", "right shoulder")}
    trunk |= {("right ear", "left ear")}
    named = [(JOINTS[a], JOINTS[b]) for a, b in LIMBS]
    assert set(named) == skeleton | trunk
    ears = {("neck", "right ear"), ("neck", "left ear")}
    assert {(JOINTS[a], JOINTS[b]) for a, b in BONES} == skeleton - ears
    assert len(set(named)) == len(named)


def test_every_joint_is_mirrored_to_its_other_side() -> None:
    other = {"right": "left", "left": "right"}
    mirrored = [" ".join(other.get(word, word) for word in name.split()) for name in JOINTS]
    assert [JOINTS[i] for i in MIRRORED] == mirrored


def test_regions_are_the_papers_parts_of_the_body() -> None:
    regions = [{JOINTS[i] for i in region} for region in REGIONS]
    head, upper, legs, left_arm, right_arm, left_leg, right_leg = regions
    assert head == {name for name in JOINTS if name.split()[-1] in ("nose", "neck", "shoulder", "eye", "ear")}
    assert upper == {name for name in JOINTS if name.split()[-1] in ("shoulder", "elbow", "wrist", "hip")}
    assert legs == {name for name in JOINTS if name.split()[-1] in ("hip", "knee", "ankle")}
    for side, arm, leg in (("left", left_arm, left_leg), ("right", right_arm, right_leg)):
        assert arm == {f"{side} {joint}" for joint in ("shoulder", "elbow", "wrist")}
        assert leg == {f"{side} {joint}" for joint in ("hip", "knee", "ankle")}
    assert len(JOINTS) == KEYPOINTS
    assert 3 * len(JOINTS) == POSE_WIDTH


@pytest.mark.parametrize(
    ("row", "column", "found", "expected"),
    [
        (0, 0, 1, True), (63, 31, 1, True), (-0.4, -0.4, 1, True), (63.4, 31.4, 1, True), (20, 9, 0.6, True),
        (-0.5, 9, 1, False), (20, -0.5, 1, False), (63.5, 9, 1, False), (20, 31.5, 1, False),
        (20, 9, 0.5, False), (20, 9, 0, False),
    ],
)  # fmt: skip
def test_a_keypoint_is_present_where_it_falls_on_a_pixel(row: float, column: float, found: float, expected: bool) -> None:
    keypoints = nobody()
    keypoints[0, 0] = torch.tensor([row, column, found])
    assert present(keypoints, SIZE)[0, 0].item() is expected


def test_a_body_is_all_pixels_near_its_limbs() -> None:
    """By the distance to a segment, pixel by pixel, for a limb across the image."""
    keypoints = at(right_hip=(10.0, 5.0), right_knee=(40.0, 25.0))
    mask = body_mask(keypoints, SIZE, 3.0, 1)[0, 0]
    for row in range(0, 64, 3):
        for column in range(32):
            share = max(0.0, min(1.0, ((row - 10) * 30 + (column - 5) * 20) / (30**2 + 20**2)))
            distance = math.hypot(row - 10 - 30 * share, column - 5 - 20 * share)
            if abs(distance - 3) > 1e-3:
                assert mask[row, column] == (distance < 3), (row, column)


def test_a_limb_without_length_is_a_disc_and_the_rim_is_in() -> None:
    mask = body_mask(at(right_hip=(20.0, 10.0), right_knee=(20.0, 10.0)), SIZE, 3.0, 1)
    assert mask.sum() == 29  # grid points within a distance of 3
    assert mask[0, 0, 23, 10] == 1


def test_a_limb_needs_both_its_ends() -> None:
    assert body_mask(at(right_hip=(20.0, 10.0)), SIZE, 3.0, 1).sum() == 0
    assert body_mask(at(right_knee=(20.0, 10.0)), SIZE, 3.0, 1).sum() == 0


def test_closing_is_five_pixels_unless_named_and_keeps_a_body_at_the_edge() -> None:
    keypoints = somebody(4)
    assert torch.equal(body_mask(keypoints, SIZE, 2), body_mask(keypoints, SIZE, 2, 5))
    edge = at(right_hip=(63.0, 5.0), right_knee=(63.0, 25.0))
    assert torch.equal(body_mask(edge, SIZE, 1.0, 5), body_mask(edge, SIZE, 1.0, 1))
    corner = at(right_hip=(0.0, 0.0), right_knee=(0.0, 0.0))
    assert torch.equal(body_mask(corner, SIZE, 2.0, 7), body_mask(corner, SIZE, 2.0, 1))


def test_a_closing_fills_what_no_square_of_its_side_fits_in() -> None:
    """Two bars, four pixels apart: their rims leave three empty columns, into which squares of 3 fit and of 5 do not."""
    bars = at(right_hip=(10.0, 8.0), right_knee=(50.0, 8.0), left_hip=(10.0, 14.0), left_knee=(50.0, 14.0))
    bars[0, JOINTS.index("left hip"), :2] = torch.tensor([10.0, 14.0])
    plain, small, large = (body_mask(bars, SIZE, 1.0, side)[0, 0, 30] for side in (1, 3, 5))
    assert plain.nonzero().flatten().tolist() == [7, 8, 9, 13, 14, 15]
    assert small.nonzero().flatten().tolist() == [7, 8, 9, 13, 14, 15]
    assert large.nonzero().flatten().tolist() == list(range(7, 16))


def test_a_heat_map_includes_its_rim_and_no_gradient() -> None:
    keypoints = at(nose=(20.0, 10.0))
    assert heat_maps(keypoints, SIZE, 2.0)[0, 0].sum() == 13  # grid points within a distance of 2
    assert heat_maps(keypoints, SIZE, 1.99)[0, 0].sum() == 9
    row = heat_maps(keypoints, SIZE, 2.0)[0, 0, :, 10].nonzero().flatten()
    assert row.tolist() == [18, 19, 20, 21, 22]


def test_boxes_are_cut_at_the_images_edges_and_have_an_area() -> None:
    keypoints = at(left_shoulder=(1.0, 2.0), left_elbow=(62.0, 30.0), right_hip=(40.0, 20.0))
    boxes, visible = region_boxes(keypoints, SIZE, margin=4.0, lone_margin=9.0)
    head, upper, legs, left_arm, right_arm, left_leg, right_leg = boxes[0].tolist()
    assert left_arm == [0, 0, 63, 31]
    assert head == [0, 0, 1 + 9, 2 + 9]
    assert legs == right_leg == [31, 11, 49, 29]
    assert upper == [0, 0, 63, 31]
    assert right_arm == left_leg == [0, 0, 63, 31]
    assert visible[0].tolist() == [1, 1, 1, 1, 0, 0, 1]


def test_a_box_exceeds_its_keypoints_by_the_margin_on_each_side() -> None:
    boxes, _ = region_boxes(at(left_hip=(30.0, 10.0), left_knee=(40.0, 15.0)), SIZE, margin=4.0, lone_margin=9.0)
    assert boxes[0, 5].tolist() == [26, 6, 44, 19]


def test_a_crop_reaches_the_edges_of_its_box_on_both_axes() -> None:
    row, column = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    features = torch.stack([row, column])[None]
    whole = crop_regions(features, torch.tensor([[[0.0, 0.0, 5.0, 8.0]]]), 3)
    assert torch.allclose(whole[0, 0], torch.tensor([0.0, 2.5, 5.0])[:, None].expand(3, 3), atol=1e-5)
    assert torch.allclose(whole[0, 1], torch.tensor([0.0, 4.0, 8.0]).expand(3, 3), atol=1e-5)
    inner = crop_regions(features, torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]), 2)
    assert torch.allclose(inner[0, 0], torch.tensor([[1.0, 1.0], [3.0, 3.0]]), atol=1e-5)
    assert torch.allclose(inner[0, 1], torch.tensor([[2.0, 6.0], [2.0, 6.0]]), atol=1e-5)


def test_pose_vectors_run_from_edge_to_edge() -> None:
    vector = pose_vectors(at(nose=(0.0, 31.0), neck=(63.0, 0.0), left_ear=(31.5, 15.5)), SIZE).view(KEYPOINTS, 3)
    assert vector[0].tolist() == [-1, 1, 1]
    assert vector[1].tolist() == [1, -1, 1]
    assert vector[17].tolist() == [0, 0, 1]
    assert vector[2:17].abs().sum() == 0


def test_a_keypoint_is_read_back_where_its_visibility_is_above_one_half() -> None:
    vectors = torch.zeros(1, 54)
    vectors[0, 2], vectors[0, 5], vectors[0, 8] = 0.5, 0.51, 1.0
    vectors[0, 6], vectors[0, 7] = 1.0, -1.0
    keypoints = keypoints_of(vectors, SIZE)[0]
    assert keypoints[0].tolist() == [-1, -1, 0]
    assert keypoints[1].tolist() == [31.5, 15.5, 1]
    assert keypoints[2].tolist() == [63, 0, 1]


def test_a_missing_keypoint_is_not_mirrored() -> None:
    keypoints = at(left_wrist=(20.0, 3.0))
    flipped = flip_keypoints(keypoints, 32)
    assert flipped[0, JOINTS.index("right wrist")].tolist() == [20, 28, 1]
    assert flipped[0, JOINTS.index("left wrist")].tolist() == [-1, -1, 0]


def test_a_bone_needs_both_its_ends() -> None:
    keypoints = at(right_shoulder=(10.0, 10.0), right_elbow=(22.0, 15.0), left_hip=(1.0, 1.0))
    length, has = bone_lengths(keypoints, SIZE)
    assert length.shape == has.shape == (1, 17)
    assert length[has].tolist() == pytest.approx([13 / 64])
    start, end = BONES[int(has[0].nonzero())]
    assert (JOINTS[start], JOINTS[end]) == ("right shoulder", "right elbow")
