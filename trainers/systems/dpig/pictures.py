"""Sheets of people whose factors are rebuilt, exchanged, sampled or interpolated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unbraid.models.dpig.specs import FACTORS
from unbraid.models.random import RandomSource
from unbraid.trainers.runs.pictures import sheet, value_table
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.dpig.leakage import Leakage
from unbraid.trainers.systems.dpig.model import Factors, Model
from unbraid.trainers.systems.dpig.people import People


def rebuilt_sheet(model: Model, people: People) -> Tensor:
    """Images in the upper row, their reconstructions in the lower."""
    rebuilt = model.decode(model.encode(people.images, people.keypoints))
    return sheet(unit_range(torch.cat([people.images, rebuilt])), len(people))


def exchange_sheet(model: Model, factors: Factors, images: Tensor, factor: str) -> Tensor:
    """A matrix: each row is a person (leftmost) with one factor taken from each column's person (topmost)."""
    count = len(factors)
    fake = model.decode(factors.repeated(count).exchanged(factor, factors.tiled(count)))
    rows = [torch.cat([torch.ones_like(images[:1]), images])]
    rows += [torch.cat([images[i : i + 1], fake[i * count : (i + 1) * count]]) for i in range(count)]
    return sheet(unit_range(torch.cat(rows)), count + 1)


class Posing(Protocol):
    """A model that draws people in other poses."""

    @property
    def device(self) -> torch.device: ...

    def posed(self, condition: People, target: People) -> Tensor:
        """N people in the poses of N others, (N, 3, H, W) about in [-1, 1]."""
        ...


def transfer_sheet(model: Posing, condition: People, target: People) -> Tensor:
    """Rows: the person, the target pose, the generated image, and the target image."""
    fake = model.posed(condition, target)
    skeletons = skeleton_images(target.keypoints, (fake.shape[2], fake.shape[3]))
    images = [unit_range(condition.images), skeletons, unit_range(fake), unit_range(target.images)]
    return sheet(torch.cat(images), len(condition.images))


def sheet_of_samples(model: Model, source: RandomSource, count: int, columns: int) -> Tensor:
    """People drawn from noise."""
    return sheet(unit_range(model.decode(model.sample(count, source))), columns)


def sampled_sheet(model: Model, people: People, factor: str, columns: int, source: RandomSource) -> Tensor:
    """Each row is a person (leftmost) with one factor drawn anew; each column is one draw."""
    mine = model.encode(people.images, people.keypoints)
    drawn = model.map(factor, model.noise(factor, columns, source))
    fake = model.decode(replace(mine.repeated(columns), **{factor: torch.cat([drawn] * len(people))}))
    rows = [torch.cat([people.images[i : i + 1], fake[i * columns : (i + 1) * columns]]) for i in range(len(people))]
    return sheet(unit_range(torch.cat(rows)), columns + 1)


def interpolation_sheet(model: Model, noises: Mapping[str, Tensor], moving: Sequence[str], columns: int) -> Tensor:
    """Each row goes from one person to another in equal steps of the noise.

    Args:
        noises: (2·rows, width) by factor; rows 2i and 2i + 1 are the ends of row i.
        moving: factors that change; the others stay as they are at the first end.
    """
    return sheet(unit_range(model.decode(interpolated(model, noises, moving, columns))), columns)


def interpolated(model: Model, noises: Mapping[str, Tensor], moving: Sequence[str], columns: int) -> Factors:
    """The factors of :func:`interpolation_sheet`, row by row."""
    for factor in moving:
        model.require(factor)
    values = {}
    for factor in model.factors:
        first, last = noises[factor][0::2], noises[factor][1::2]
        steps = torch.linspace(0, 1, columns, device=first.device)[None, :, None]
        path = torch.lerp(first[:, None], (last if factor in moving else first)[:, None], steps)
        values[factor] = model.map(factor, path.flatten(0, 1))
    return model.joined(values)


def skeleton_images(keypoints: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) in [0, 1]: poses as coloured lines on black."""
    from PIL import Image, ImageDraw

    from unbraid.models.dpig.pose import BONES, present

    there = present(keypoints, size).cpu()
    points = keypoints.detach().cpu()
    pictures = []
    for person, seen in zip(points, there, strict=True):
        picture = Image.new("RGB", (4 * size[1], 4 * size[0]))
        pen = ImageDraw.Draw(picture)
        for i, (a, b) in enumerate(BONES):
            if seen[a] and seen[b]:
                ends = [(4 * float(person[k, 1]) + 2, 4 * float(person[k, 0]) + 2) for k in (a, b)]
                pen.line(ends, fill=f"hsl({i * 360 // len(BONES)}, 90%, 60%)", width=5)
        small = picture.resize((size[1], size[0]), Image.Resampling.BOX)
        pictures.append(torch.from_numpy(np.asarray(small).copy()))
    return torch.stack(pictures).permute(0, 3, 1, 2).float().div(255).to(keypoints.device)


def leakage_picture(leakage: Leakage) -> Tensor:
    """The matrix as a table in colours."""
    title = f"off the diagonal {leakage.off_diagonal:.3f}: leakage\non it {leakage.diagonal:.3f}: error"
    return value_table(leakage.matrix, FACTORS, FACTORS, title, "Reds", ("changed factor", "pixels of"))
