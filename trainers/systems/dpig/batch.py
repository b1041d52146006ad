"""Training batches of DPIG's stages."""

import torch
from kornia.geometry.transform import hflip
from torch import Tensor

from unbraid.models.augment import random_colour
from unbraid.models.dpig.pose import flip_keypoints
from unbraid.models.random import RandomSource
from unbraid.trainers.config.sections import ImageAugmentConfig
from unbraid.trainers.data import Batch
from unbraid.trainers.step.images import normalised


def training_batch(batch: Batch, augment: ImageAugmentConfig, source: RandomSource) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) in [-1, 1] and keypoints (B, 18, 3), changed as configured; both are mirrored together."""
    images, keypoints = normalised(batch["image"]), batch["keypoints"]
    if augment.flip:
        images, keypoints = mirrored(images, keypoints, source.uniform(len(images), 1, 1) < 0.5)
    if augment.colour:
        images = random_colour(images, source, augment.brightness, augment.contrast, augment.saturation)
    return images, keypoints


def mirrored(images: Tensor, keypoints: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) and keypoints (B, 18, 3), mirrored together where ``which`` (B, 1, 1) is true."""
    return (
        torch.where(which[..., None], hflip(images), images),
        torch.where(which, flip_keypoints(keypoints, images.shape[3]), keypoints),
    )
