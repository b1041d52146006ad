"""A made set of people whose every factor is known: see :mod:`unbraid.datasets.synthetic.people`."""

import io
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import numpy as np
from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Field, Index
from unbraid.datasets.sources.keypoints import KEYPOINTS_FIELD
from unbraid.datasets.sources.source import Item, Source, encode_array, fingerprint, image_field
from unbraid.datasets.synthetic.people.population import CAMERA, VERSION, Population

GENERATOR = "people"
SMALLEST = 32
NUMBERS = ("person", "camera", "background", "pose")
"""Integer fields: ``person`` is the number of the foreground too."""


def make_people(
    population: Population, identities: int, images: int, cameras: int = 6, test_share: float = 0.15, name: str = "people"
) -> Source:
    """Several images of each identity, each in a pose of its own and before some camera; no identity is in two splits.

    Args:
        images: of each identity.
        cameras: whose views the backgrounds are cut from.
        test_share: of the identities, at least one.

    Raises:
        DataError: when there are too few identities for two splits, or images are too small to show anybody.
    """
    if min(population.size) < SMALLEST // 2 or population.height < SMALLEST:
        raise DataError(f"--size {population.height}x{population.width}: people need at least {SMALLEST}x{SMALLEST // 2}")
    if identities < 2 or min(images, cameras) < 1:
        raise DataError(f"--identities {identities} --images {images} --cameras {cameras}: at least 2, 1 and 1 are needed")
    held_out = min(max(round(test_share * identities), 1), identities - 1)
    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for person in range(identities):
        split = "test" if person >= identities - held_out else "train"
        for image in range(images):
            pose = person * images + image
            camera = int(np.random.default_rng([population.seed, 6, pose]).integers(cameras))
            numbers = {"person": person, "camera": camera, "background": camera * CAMERA + pose, "pose": pose}
            mark = fingerprint(GENERATOR, VERSION, asdict(population), numbers)
            splits[split].append(Item(f"{person:05d}_c{camera}_{pose:07d}", partial(_members, population, numbers), mark))
    integers = {number: Field("integer", (f"{number}.id",)) for number in NUMBERS}
    return Source(
        name=name,
        fields={"image": image_field((3, *population.size)), "keypoints": KEYPOINTS_FIELD, **integers},
        splits=splits,
        licence="CC0 1.0",
        origin=f"drawn by unbraid, {identities} identities, {cameras} cameras",
        is_computed=True,
        recipe={"generator": GENERATOR, "version": VERSION, **asdict(population)},
    )


def population_of(index: Index) -> Population | None:
    """The population that a packed set was drawn from; None where images are photographs or of another version."""
    recipe = index.recipe
    if recipe.get("generator") != GENERATOR or recipe.get("version") != VERSION:
        return None
    return Population(int(recipe["seed"]), int(recipe["height"]), int(recipe["width"]))


def _members(population: Population, numbers: Mapping[str, int]) -> Mapping[str, bytes]:
    taken = population.photograph(numbers["person"], numbers["background"], numbers["pose"])
    buffer = io.BytesIO()
    quality = 80 + numbers["pose"] * 7 % 16
    Image.fromarray(taken.image).save(buffer, "JPEG", quality=quality)
    ids = {f"{name}.id": b"%d" % number for name, number in numbers.items()}
    return {"jpg": buffer.getvalue(), "keypoints.npy": encode_array(taken.keypoints), **ids}
