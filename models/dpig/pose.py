"""Poses as 18 keypoints, and what DPIG computes from them: heat-maps, body masks, regions, vectors (Ma et al., CVPR 2018).

Keypoints are (B, 18, 3): row and column in pixels, and 1 where the point was found. They are in OpenPose's order: nose, neck,
right shoulder, elbow, wrist, left shoulder, elbow, wrist, right hip, knee, ankle, left hip, knee, ankle, right eye, left eye,
right ear, left ear. All functions work on batches, on the device of their input, without host synchronisation.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

KEYPOINTS = 18
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0), (0, 14),
    (14, 16), (0, 15), (15, 17), (1, 16), (1, 17), (8, 11), (11, 5), (8, 2), (16, 17),
)  # fmt: skip
"""Pairs of keypoints between which the body mask is filled; the last four close trunk and head."""
BONES = LIMBS[:17]
"""Limbs whose lengths decide whether a pose is plausible."""
REGIONS = (
    (0, 1, 2, 5, 14, 15, 16, 17),
    (2, 3, 4, 5, 6, 7, 8, 11),
    (8, 9, 10, 11, 12, 13),
    (5, 6, 7),
    (2, 3, 4),
    (11, 12, 13),
    (8, 9, 10),
)
"""Keypoints of head and shoulders, upper body, legs, left arm, right arm, left leg, right leg."""
MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""The index of each keypoint's mirror image."""
POSE_WIDTH = 3 * KEYPOINTS
"""Length of a pose vector."""


def present(keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether each keypoint was found and lies inside of the image: (B, 18, 3) → (B, 18) bool.

    Args:
        size: (H, W) of the image.
    """
    row, column, found = keypoints.unbind(2)
    return (found > 0.5) & (row > -0.5) & (row < size[0] - 0.5) & (column > -0.5) & (column < size[1] - 0.5)


def heat_maps(keypoints: Tensor, size: tuple[int, int], radius: float) -> Tensor:
    """(B, 18, 3) → (B, 18, H, W): ones in a disc around each keypoint that is present, zeros elsewhere.

    Edges are hard, so that keypoints get no gradient; no network learns through them.
    """
    row, column = _grid(keypoints, size)
    squared = (row - keypoints[:, :, 0, None, None]) ** 2 + (column - keypoints[:, :, 1, None, None]) ** 2
    discs = (squared <= radius**2).to(keypoints.dtype)
    return discs * present(keypoints, size).to(keypoints.dtype)[:, :, None, None]


def body_mask(keypoints: Tensor, size: tuple[int, int], radius: float, closing: int = 5) -> Tensor:
    """(B, 18, 3) → (B, 1, H, W) of zeros and ones: the coarse body mask.

    It holds all pixels within ``radius`` of a limb whose two ends are present. The reference code draws discs along each limb,
    spaced by their radius; this is their limit at small spacing. A closing (dilation, then erosion) fills gaps.

    Args:
        closing: side of the closing's square in pixels, odd; 1 is no closing.
    """
    there = present(keypoints, size)
    starts, stops = _ends(LIMBS, keypoints.device)
    start, end = keypoints[:, starts, :2], keypoints[:, stops, :2]
    row, column = _grid(keypoints, size)
    along = end - start
    length = along.square().sum(2).clamp_min(1e-6)[:, :, None, None]
    down, right = along[:, :, 0, None, None], along[:, :, 1, None, None]
    from_row, from_column = row - start[:, :, 0, None, None], column - start[:, :, 1, None, None]
    share = ((from_row * down + from_column * right) / length).clamp(0, 1)
    squared = (from_row - share * down) ** 2 + (from_column - share * right) ** 2
    drawn = (there[:, starts] & there[:, stops])[:, :, None, None]
    mask = ((squared <= radius**2) & drawn).any(1, keepdim=True).to(keypoints.dtype)
    if closing == 1:
        return mask
    margin = closing // 2  # the dilated mask goes on beyond the image's edge, or erosion would remove a body at the edge
    dilated = F.max_pool2d(F.pad(mask, (2 * margin,) * 4), closing, 1)
    return -F.max_pool2d(-dilated, closing, 1)


def region_boxes(keypoints: Tensor, size: tuple[int, int], margin: float, lone_margin: float) -> tuple[Tensor, Tensor]:
    """Boxes around the keypoints of the 7 body regions of each image.

    Args:
        margin: pixels by which a box exceeds its keypoints on each side.
        lone_margin: the same where only one keypoint is present.

    Returns:
        Boxes (B, 7, 4): top, left, bottom, right in pixels, the last two included; never of zero area. Where no keypoint is
        present, the box is the whole image. Visibilities (B, 7): 0 for these, else 1.
    """
    height, width = size
    there = present(keypoints, size)
    boxes, visible = [], []
    for region in REGIONS:
        chosen = _indices(region, keypoints.device)
        row, column = keypoints[:, chosen, 0], keypoints[:, chosen, 1]
        mine = there[:, chosen]
        count = mine.sum(1)
        grown = torch.where(count == 1, lone_margin, margin).to(keypoints.dtype)
        top = row.masked_fill(~mine, float("inf")).amin(1) - grown
        left = column.masked_fill(~mine, float("inf")).amin(1) - grown
        bottom = row.masked_fill(~mine, -float("inf")).amax(1) + grown
        right = column.masked_fill(~mine, -float("inf")).amax(1) + grown
        edges = (top.clamp(0, height - 1), left.clamp(0, width - 1), bottom.clamp(0, height - 1), right.clamp(0, width - 1))
        none = count == 0
        whole = (0.0, 0.0, height - 1.0, width - 1.0)
        boxes.append(torch.stack([edge.masked_fill(none, w) for edge, w in zip(edges, whole, strict=True)], 1))
        visible.append((~none).to(keypoints.dtype))
    return torch.stack(boxes, 1), torch.stack(visible, 1)


def crop_regions(features: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut boxes out of feature maps, and resize them bilinearly to squares.

    Args:
        features: (B, C, H, W).
        boxes: (B, N, 4), see :func:`region_boxes`; their edges become the centres of the outermost pixels.

    Returns:
        (B·N, C, side, side), the boxes of an image next to each other.
    """
    batch, channels, height, width = features.shape
    count = boxes.shape[1]
    steps = torch.linspace(0, 1, side, device=features.device, dtype=boxes.dtype)
    top, left, bottom, right = boxes.unbind(2)
    row = (top[..., None] + (bottom - top)[..., None] * steps) * (2 / (height - 1)) - 1
    column = (left[..., None] + (right - left)[..., None] * steps) * (2 / (width - 1)) - 1
    shape = (batch, count, side, side)
    grid = torch.stack([column[:, :, None, :].expand(shape), row[:, :, :, None].expand(shape)], dim=4)
    # one grid for all boxes of an image, one below the other, so that features are not repeated for each box
    grid = grid.reshape(batch, count * side, side, 2)
    # bfloat16 coordinates would be wrong by pixels
    crops = F.grid_sample(features.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return crops.view(batch, channels, count, side, side).transpose(1, 2).reshape(batch * count, channels, side, side)


def pose_vectors(keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 18, 3) → (B, 54): row and column in [-1, 1] over the image, and visibility, of each keypoint; zeros if missing."""
    there = present(keypoints, size).to(keypoints.dtype)
    row = (keypoints[:, :, 0] * (2 / (size[0] - 1)) - 1) * there
    column = (keypoints[:, :, 1] * (2 / (size[1] - 1)) - 1) * there
    return torch.stack([row, column, there], 2).flatten(1)


def keypoints_of(vectors: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`pose_vectors`: (B, 54) → (B, 18, 3), row and column −1 for missing keypoints."""
    row, column, visible = vectors.view(-1, KEYPOINTS, 3).unbind(2)
    there = visible > 0.5
    row = ((row + 1) * ((size[0] - 1) / 2)).masked_fill(~there, -1.0)
    column = ((column + 1) * ((size[1] - 1) / 2)).masked_fill(~there, -1.0)
    return torch.stack([row, column, there.to(vectors.dtype)], 2)


def flip_keypoints(keypoints: Tensor, width: int) -> Tensor:
    """Keypoints (B, 18, 3) of images mirrored left to right: columns are mirrored, left and right joints exchanged."""
    row, column, found = keypoints[:, _indices(MIRRORED, keypoints.device)].unbind(2)
    mirrored = torch.where(found > 0.5, width - 1 - column, column)
    return torch.stack([row, mirrored, found], 2)


def bone_lengths(keypoints: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(B, 18, 3) → lengths of the bones in image heights (B, 17), and whether both ends are present (B, 17) bool."""
    there = present(keypoints, size)
    starts, stops = _ends(BONES, keypoints.device)
    length = (keypoints[:, starts, :2] - keypoints[:, stops, :2]).square().sum(2).sqrt() / size[0]
    return length, there[:, starts] & there[:, stops]


@lru_cache(maxsize=64)
def _indices(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices as a tensor, kept on the device: a new tensor would be copied from the host in every update."""
    return torch.tensor(values, device=device)


def _ends(limbs: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    return _indices(tuple(a for a, _ in limbs), device), _indices(tuple(b for _, b in limbs), device)


def _grid(keypoints: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, to be broadcast against (B, N, H, W)."""
    row = torch.arange(size[0], device=keypoints.device, dtype=keypoints.dtype)
    column = torch.arange(size[1], device=keypoints.device, dtype=keypoints.dtype)
    return row[:, None], column[None, :]
