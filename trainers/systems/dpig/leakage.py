"""True disentanglement, where every factor can be changed in truth: what a change of one factor does to the others' pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unbraid.datasets.synthetic.people.population import Population
from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.dpig.model import Factors, Model
from unbraid.trainers.systems.dpig.people import People

CHANGED = 0.05
"""Mean change over channels, of values in [0, 1], from which on a pixel counts as changed in truth."""
NUMBER = {"foreground": "person", "background": "background", "pose": "pose"}
"""The field of :class:`People` that holds each factor's number."""


@dataclass(frozen=True)
class Leakage:
    """Errors and leaks of changes of one factor.

    Attributes:
        matrix: (3, 3), rows the factor that was changed, columns the factor whose pixels are looked at. On the diagonal, the
            error of the change where truth changes; off it, that error where only the column's factor should change pixels. All
            as shares of the row's true change: 0 is perfect, on the diagonal 1 is as bad as no change at all.
        inside, outside: (3,) mean error in [0, 1] of the whole image after each change, where truth changes and elsewhere.
    """

    matrix: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]

    @property
    def off_diagonal(self) -> float:
        """Mean of the six leaks."""
        return float(self.matrix[~np.eye(3, dtype=bool)].mean())

    @property
    def diagonal(self) -> float:
        """Mean of the three errors."""
        return float(np.diag(self.matrix).mean())


def true_images(population: Population, people: People, others: People, factor: str | None) -> Tensor:
    """(N, 3, H, W) in [0, 1]: the people drawn without a camera's noise, with one factor taken from others."""
    images = []
    for row in range(len(people)):
        numbers = {name: int(getattr(people, number)[row]) for name, number in NUMBER.items()}
        if factor is not None:
            numbers[factor] = int(getattr(others, NUMBER[factor])[row])
        images.append(population.render(**numbers).image)
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.float().div_(255).to(people.images.device)


def measure_leakage(model: Model, population: Population, people: People, others: People) -> Leakage:
    """Change one factor of each of N people to that of another, in truth and in the model, and compare the changes."""
    mine, theirs = model.encode(people.images, people.keypoints), model.encode(others.images, others.keypoints)
    base, true_base = unit_range(model.decode(mine)), true_images(population, people, others, None)
    true_change, change, error = {}, {}, {}
    for factor in FACTORS:
        truth = true_images(population, people, others, factor)
        fake = unit_range(model.decode(mine.exchanged(factor, theirs)))
        true_change[factor], change[factor], error[factor] = truth - true_base, fake - base, (fake - truth).abs().mean(1)
    where = {factor: true_change[factor].abs().mean(1) > CHANGED for factor in FACTORS}
    matrix = np.zeros((3, 3))
    for i, row in enumerate(FACTORS):
        size = _mean(true_change[row].abs().mean(1), where[row])
        for j, column in enumerate(FACTORS):
            place = where[row] if row == column else where[column] & ~where[row]
            matrix[i, j] = _mean((change[row] - true_change[row]).abs().mean(1), place) / size
    inside = np.array([_mean(error[f], where[f]) for f in FACTORS])
    outside = np.array([_mean(error[f], ~where[f]) for f in FACTORS])
    return Leakage(matrix, inside, outside)


def swap_ratios(model: Model, mine: Factors, theirs: Factors, masks: Tensor) -> dict[str, float]:
    """How much more an exchange changes its own side of the mask than the other: mean change per pixel, by factor.

    Args:
        masks: (N, 1, H, W), 1 on the person.

    Returns:
        ``FACTOR_ratio`` of background and foreground; of a factor that people do not have (its embedding is empty), none.
    """
    base = unit_range(model.decode(mine))
    ratios = {}
    for factor, own in (("background", masks < 0.5), ("foreground", masks >= 0.5)):
        if not getattr(mine, factor).shape[1]:
            continue
        change = (unit_range(model.decode(mine.exchanged(factor, theirs))) - base).abs().mean(1, keepdim=True)
        ratios[f"{factor}_ratio"] = _mean(change, own) / max(_mean(change, ~own), 1e-9)
    return ratios


def _mean(values: Tensor, where: Tensor) -> float:
    return float((values * where).sum() / where.sum().clamp_min(1))
