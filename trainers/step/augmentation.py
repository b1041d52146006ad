"""What a configuration asks to be done to training images on the device."""

from torch import Tensor

from unbraid.models.augment import random_colour, random_flip, random_shift
from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import ImageAugmentConfig


def augmented(images: Tensor, augment: ImageAugmentConfig, source: RandomSource) -> Tensor:
    """Images (B, C, H, W) of floats after the changes that are switched on, in a fixed order; fresh for each image."""
    if augment.flip:
        images = random_flip(images, source)
    if augment.crop:
        images = random_shift(images, source, augment.crop, augment.crop, "border")
    if augment.colour:
        images = random_colour(images, source, augment.brightness, augment.contrast, augment.saturation)
    return images
