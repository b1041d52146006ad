"""What is drawn from keypoints: shapes and places that can be told by hand."""

import math

import pytest
import torch
from torch import Tensor

from unbraid.models.dpig.pose import (
    KEYPOINTS,
    MIRRORED,
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

SIZE = (64, 32)


def nobody(batch: int = 1) -> Tensor:
    keypoints = torch.full((batch, KEYPOINTS, 3), -1.0)
    keypoints[:, :, 2] = 0
    return keypoints


def somebody(batch: int = 2, seed: int = 0) -> Tensor:
    """Keypoints anywhere, some of them missing."""
    g = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(batch, KEYPOINTS, 3, generator=g) * torch.tensor([SIZE[0] - 1.0, SIZE[1] - 1.0, 0.0])
    keypoints[:, :, 2] = (torch.rand(batch, KEYPOINTS, generator=g) > 0.2).float()
    return torch.where(keypoints[:, :, 2:] > 0, keypoints, nobody()[:, :1])


def test_a_heat_map_is_a_disc_where_the_keypoint_is() -> None:
    keypoints = nobody()
    keypoints[0, 3] = torch.tensor([20.0, 10.0, 1.0])
    maps = heat_maps(keypoints, SIZE, radius=4)
    assert maps.shape == (1, KEYPOINTS, *SIZE)
    assert maps[0, 3, 20, 10] == maps[0, 3, 24, 10] == maps[0, 3, 20, 6] == 1
    assert maps[0, 3, 25, 10] == maps[0, 3, 23, 13] == 0
    assert maps.sum() == maps[0, 3].sum() == 49  # grid points within a distance of 4


def test_missing_keypoints_and_those_outside_of_the_image_draw_nothing() -> None:
    keypoints = nobody()
    keypoints[0, 0] = torch.tensor([-3.0, 10.0, 1.0])
    keypoints[0, 1] = torch.tensor([10.0, 32.0, 1.0])
    assert not present(keypoints, SIZE).any()
    assert heat_maps(keypoints, SIZE, 4).sum() == 0
    assert body_mask(keypoints, SIZE, 3).sum() == 0


def test_the_body_mask_is_a_thick_limb() -> None:
    keypoints = nobody()
    keypoints[0, 8] = torch.tensor([10.0, 15.0, 1.0])
    keypoints[0, 9] = torch.tensor([40.0, 15.0, 1.0])
    mask = body_mask(keypoints, SIZE, radius=4, closing=1)[0, 0]
    assert mask[:, 15].nonzero().flatten().tolist() == list(range(6, 45))
    assert mask[25].nonzero().flatten().tolist() == list(range(11, 20))
    keypoints[0, 9, 2] = 0
    assert body_mask(keypoints, SIZE, 4).sum() == 0


def test_closing_fills_gaps_and_never_removes_anything() -> None:
    keypoints = somebody(8)
    plain, closed = (body_mask(keypoints, SIZE, 3, side) for side in (1, 5))
    assert ((plain > 0) <= (closed > 0)).all()
    gap = nobody()
    for joint, column in ((8, 10.0), (9, 10.0), (11, 15.0), (12, 15.0)):
        gap[0, joint] = torch.tensor([10.0 if joint in (8, 11) else 50.0, column, 1.0])
    assert body_mask(gap, SIZE, 1, 1)[0, 0, 30, 12] == 0
    assert body_mask(gap, SIZE, 1, 5)[0, 0, 30, 12] == 1


def test_regions_enclose_their_keypoints_and_nothing_else() -> None:
    keypoints = somebody(16)
    boxes, visible = region_boxes(keypoints, SIZE, margin=3, lone_margin=5)
    there = present(keypoints, SIZE)
    assert boxes.shape == (16, 7, 4)
    for image in range(16):
        for i, region in enumerate(REGIONS):
            points = keypoints[image, list(region)][there[image, list(region)]]
            assert visible[image, i] == (len(points) > 0)
            top, left, bottom, right = boxes[image, i].tolist()
            if not len(points):
                assert (top, left, bottom, right) == (0, 0, SIZE[0] - 1, SIZE[1] - 1)
                continue
            margin = 5 if len(points) == 1 else 3
            assert top == pytest.approx(max(points[:, 0].min().item() - margin, 0))
            assert right == pytest.approx(min(points[:, 1].max().item() + margin, SIZE[1] - 1))
            assert bottom > top
            assert right > left


def test_crops_are_bilinear_and_in_the_order_of_images() -> None:
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(32.0), indexing="ij")
    features = torch.stack([row, column]).expand(2, -1, -1, -1) + torch.tensor([0.0, 100.0]).view(2, 1, 1, 1)
    boxes = torch.tensor([[[2.0, 4.0, 10.0, 12.0], [0.0, 0.0, 63.0, 31.0]]]).repeat(2, 1, 1)
    crops = crop_regions(features, boxes, 5)
    assert crops.shape == (4, 2, 5, 5)
    assert torch.allclose(crops[0, 0, :, 0], torch.tensor([2.0, 4.0, 6.0, 8.0, 10.0]), atol=1e-4)
    assert torch.allclose(crops[0, 1, 0], torch.tensor([4.0, 6.0, 8.0, 10.0, 12.0]), atol=1e-4)
    assert torch.allclose(crops[2], crops[0] + 100, atol=1e-4)


def test_pose_vectors_are_turned_back_into_keypoints() -> None:
    keypoints = somebody(8)
    vectors = pose_vectors(keypoints, SIZE)
    assert vectors.shape == (8, 54)
    assert vectors.abs().max() <= 1
    assert torch.allclose(keypoints_of(vectors, SIZE), keypoints, atol=1e-4)


def test_flipping_exchanges_left_and_right_and_is_its_own_inverse() -> None:
    keypoints = somebody(8)
    flipped = flip_keypoints(keypoints, SIZE[1])
    assert torch.allclose(flip_keypoints(flipped, SIZE[1]), keypoints, atol=1e-5)
    right_wrist, left_wrist = flipped[:, 4], keypoints[:, 7]
    seen = left_wrist[:, 2] > 0
    assert torch.equal(right_wrist[:, 2], left_wrist[:, 2])
    assert torch.allclose(right_wrist[seen, 1], SIZE[1] - 1 - left_wrist[seen, 1])
    assert sorted(MIRRORED) == list(range(KEYPOINTS))


def test_a_flipped_pose_draws_flipped_maps() -> None:
    keypoints = somebody(4)
    flipped = flip_keypoints(keypoints, SIZE[1])
    assert torch.equal(body_mask(flipped, SIZE, 3), body_mask(keypoints, SIZE, 3).flip(3))
    maps = heat_maps(keypoints, SIZE, 3).flip(3)
    assert torch.equal(heat_maps(flipped, SIZE, 3), maps[:, list(MIRRORED)])


def test_bones_are_measured_in_image_heights() -> None:
    keypoints = nobody()
    keypoints[0, 2] = torch.tensor([10.0, 10.0, 1.0])
    keypoints[0, 3] = torch.tensor([13.0, 14.0, 1.0])
    length, has = bone_lengths(keypoints, SIZE)
    assert has.sum() == 1
    assert length[has].item() == pytest.approx(5 / 64)
    assert not math.isnan(length.sum().item())
