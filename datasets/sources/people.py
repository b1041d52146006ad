"""Synthetic people before known backgrounds: identities whose every factor is known, with their 18 keypoints.

Any foreground can be drawn again in any pose before any background, which is how ``unbraid eval`` measures disentanglement
exactly. A batch holds ``image``, ``keypoints``, ``person`` (the identity), ``camera``, ``background`` and ``pose``.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Annotated

import numpy as np
from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import encode_array
from unbraid.datasets.shards.index import Index
from unbraid.datasets.sources.keypoints import KEYPOINTS_FIELD, number_field
from unbraid.datasets.sources.kinds import MakeKind, Option
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field
from unbraid.datasets.synthetic.people.population import CAMERA, VERSION, Population

GENERATOR = "people"
SMALLEST = 32
NUMBERS = ("person", "camera", "background", "pose")
"""Integer fields: ``person`` is the number of the identity, and of the foreground."""


def make_people(
    name: str,
    *,
    identities: Annotated[int, Option("How many, all different.", least=1)] = 1000,
    images: Annotated[int, Option("Of each identity, in different poses.", least=1)] = 12,
    cameras: Annotated[int, Option("Whose views are the backgrounds.", least=1)] = 6,
    size: Annotated[tuple[int, int], Option("Size of the images.")] = (128, 64),
    seed: Annotated[int, Option("Seed of the population.", least=0)] = 0,
    test_share: Annotated[float, Option("Share of the identities in the test split; one at least.", 0, 1)] = 0.15,
) -> Source:
    """List several images of each identity, each in its own pose before some camera; no identity is in two splits.

    Raises:
        DataError: when there are too few identities for two splits, or images are too small to show one.
    """
    population = Population(seed, *size)
    if min(population.size) < SMALLEST // 2 or population.height < SMALLEST:
        raise DataError(f"--size {population.height}x{population.width}: people need at least {SMALLEST}x{SMALLEST // 2}")
    if identities < 2 or min(images, cameras) < 1:
        raise DataError(f"--identities {identities} --images {images} --cameras {cameras}: at least 2, 1 and 1 are needed")
    held_out = min(max(round(test_share * identities), 1), identities - 1)
    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for identity in range(identities):
        split = "test" if identity >= identities - held_out else "train"
        for image in range(images):
            pose = identity * images + image
            camera = int(np.random.default_rng([population.seed, 6, pose]).integers(cameras))
            numbers = {"person": identity, "camera": camera, "background": camera * CAMERA + pose, "pose": pose}
            mark = fingerprint(GENERATOR, VERSION, asdict(population), numbers)
            splits[split].append(
                Item(f"{identity:05d}_c{camera}_{pose:07d}", partial(_members, population, numbers), mark, group=f"{identity}")
            )
    return Source(
        name=name,
        fields={
            "image": image_field((3, *population.size)),
            "keypoints": KEYPOINTS_FIELD,
            **{number: number_field(number) for number in NUMBERS},
        },
        splits=splits,
        licence="CC0 1.0",
        origin=f"drawn by unbraid, {identities} identities, {cameras} cameras",
        is_computed=True,
        recipe={"generator": GENERATOR, "version": VERSION, **asdict(population)},
    )


def population_of(index: Index) -> Population | None:
    """Return the population that a packed set was drawn from; None for photographs and for sets of another version."""
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


MAKE = MakeKind(make_people, example="./small --identities 40 --size 64x32")
