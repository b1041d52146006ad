"""Random changes of training images that a configuration switches on."""

from torch import Tensor

from unbraid.models.augment import random_colour, random_flip, random_shift
from unbraid.models.random import RandomSource
from unbraid.trainers.config.sections import ImageAugmentConfig


def augmented(images: Tensor, augment: ImageAugmentConfig, source: RandomSource) -> Tensor:
    """Apply the changes that are switched on to float images (B, C, H, W), in a fixed order, drawn anew for each image."""
    if augment.flip:
        images = random_flip(images, source)
    if augment.crop:
        images = random_shift(images, source, augment.crop, augment.crop, "border")
    if augment.colour:
        images = random_colour(images, source, augment.brightness, augment.contrast, augment.saturation)
    return images
