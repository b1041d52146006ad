"""Uses of a trained DPIG; each makes a picture or a folder of images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore
from unbraid.models.random import RandomSource
from unbraid.trainers.runs.pictures import sheet
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.people import People
from unbraid.trainers.systems.dpig.pictures import (
    Posing,
    exchange_sheet,
    interpolated,
    interpolation_sheet,
    rebuilt_sheet,
    sampled_sheet,
    sheet_of_samples,
    transfer_sheet,
)

CAMERAS = 6
"""Of a virtual re-identification set."""
EXPORT_CHUNK = 64
QUALITY = 92
KEYPOINTS_FILE = "keypoints.csv"


def reconstruct(model: Model, people: People) -> Tensor:
    """Images in the upper row, their reconstructions in the lower."""
    return rebuilt_sheet(model, people)


def sample(model: Model, people: People, factor: str, columns: int, source: RandomSource) -> Tensor:
    """``all``: people drawn from noise; else each row is a person with that factor drawn anew."""
    if factor == "all":
        return sheet_of_samples(model, source, len(people) * columns, columns)
    return sampled_sheet(model, people, factor, columns, source)


def transfer(model: Posing, people: People) -> Tensor:
    """Each person in the next one's pose. Rows: person, pose, result, the owner of the pose."""
    shifted = torch.arange(1, len(people) + 1) % len(people)
    return transfer_sheet(model, people, people[shifted.to(people.images.device)])


def swap(model: Model, people: People, factor: str) -> Tensor:
    """A matrix: rows are people, columns the people whose factor they get."""
    model.require(factor)
    return exchange_sheet(model, model.encode(people.images, people.keypoints), people.images, factor)


def interpolate(model: Model, rows: int, moving: Sequence[str], columns: int, source: RandomSource) -> Tensor:
    """Interpolate between drawn people: in each row the ``moving`` factors change in equal steps of their noise."""
    noises = {factor: model.noise(factor, 2 * rows, source) for factor in model.factors}
    return interpolation_sheet(model, noises, moving, columns)


def interpolate_people(model: Model, people: People, moving: Sequence[str], columns: int) -> tuple[Tensor, dict[str, float]]:
    """Interpolate between real people, at the ends of each row, through the noise that their embeddings are inverted to.

    Returns:
        The picture, and by factor the mean share of the embedding that no noise gave.
    """
    pairs = people[slice(0, len(people) // 2 * 2)]
    factors = model.encode(pairs.images, pairs.keypoints)
    noises, left = {}, {}
    for factor in model.factors:
        noises[factor], missing = model.invert(factor, model.embedding(factor, factors))
        left[factor] = missing.mean().item()
    between = model.decode(interpolated(model, noises, moving, columns))
    rows = []
    for i in range(len(pairs) // 2):
        rows += [pairs.images[2 * i : 2 * i + 1], between[i * columns :][:columns], pairs.images[2 * i + 1 : 2 * i + 2]]
    return sheet(unit_range(torch.cat(rows)), columns + 2), left


def export(
    model: Model, folder: Path, identities: int, images: int, source: RandomSource, report: Callable[[str], None]
) -> dict[str, int]:
    """Write a virtual re-identification set in Market-1501's layout, with the keypoints of every image in ``keypoints.csv``.

    Each identity is one drawn foreground, each of its images another drawn background, where the model has that, and another
    pose. The first half of them is in ``bounding_box_train``; of the others the first image is in ``query``, the rest in
    ``bounding_box_test``.

    Returns:
        Images in each folder.

    Raises:
        DataError: when the folder holds something already, or cannot be written.
    """
    store = FolderStore(folder, create=True)
    if store.keys():
        raise DataError(f"{folder}: is not empty; name a new folder, nothing is overwritten")
    counts = {"bounding_box_train": 0, "bounding_box_test": 0, "query": 0}
    lines = ["name:keypoints_y:keypoints_x"]
    wanted = [(person, image) for person in range(1, identities + 1) for image in range(images)]
    foregrounds = model.map("foreground", model.noise("foreground", identities, source))
    for start in range(0, len(wanted), EXPORT_CHUNK):
        chunk = wanted[start : start + EXPORT_CHUNK]
        rows = torch.tensor([person - 1 for person, _ in chunk], device=foregrounds.device)
        others = [factor for factor in model.factors if factor != "foreground"]
        drawn = {factor: model.map(factor, model.noise(factor, len(chunk), source)) for factor in others}
        people = model.joined({"foreground": foregrounds[rows], **drawn})
        pixels = unit_range(model.decode(people)).mul(255).round().byte().permute(0, 2, 3, 1).cpu()
        for (person, image), picture, keypoints in zip(chunk, pixels, drawn["pose"].cpu(), strict=True):
            part = "bounding_box_train" if person <= (identities + 1) // 2 else "query" if image == 0 else "bounding_box_test"
            name = f"{person:04d}_c{image % CAMERAS + 1}s1_{image:06d}_01.jpg"
            store.put(f"{part}/{name}", _jpeg(picture))
            counts[part] += 1
            lines.append(f"{name}:{_listed(keypoints[:, 0])}:{_listed(keypoints[:, 1])}")
        report(f"drawn {start + len(chunk):,} of {len(wanted):,} images")
    store.put(KEYPOINTS_FILE, ("\n".join(lines) + "\n").encode())
    return counts


def _jpeg(picture: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _listed(values: Tensor) -> str:
    return json.dumps([round(value) for value in values.tolist()])
