"""Nearest-neighbour measures tell apart what is unlike, missing and too much alike."""

import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures.density import density_and_coverage, precision_and_recall

COUNT, WIDTH = 600, 8


def normal(seed: int, count: int = COUNT) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def modes(seed: int, kept: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normal(seed) + 6 * normal(99, 8)[torch.randint(kept, (COUNT,), generator=generator)]


def people(seed: int) -> tuple[Tensor, Tensor]:
    """Sixty people of ten images each, and their numbers."""
    return normal(seed, 60).repeat_interleave(10, 0) + 0.05 * normal(seed + 1), torch.arange(60).repeat_interleave(10)


def test_points_by_hand() -> None:
    """On a line: balls around 0, 1 and 3 reach to the nearest other, with radii 1, 1 and 2."""
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [4.5], [9.0]])
    assert precision_and_recall(real, fake, 1) == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(1)}
    assert precision_and_recall(real, fake[:2], 1)["precision"] == 1
    assert precision_and_recall(fake, real, 1) == {"precision": pytest.approx(1), "recall": pytest.approx(2 / 3)}
    assert density_and_coverage(real, fake, 1) == {"density": pytest.approx(1), "coverage": pytest.approx(1)}


def test_equal_distributions_have_high_precision_and_recall() -> None:
    scores = precision_and_recall(normal(0), normal(1))
    assert min(scores.values()) > 0.75
    assert density_and_coverage(normal(0), normal(1))["density"] == pytest.approx(1, abs=0.15)


def test_shifted_samples_have_neither() -> None:
    assert max(precision_and_recall(normal(0), normal(1) + 4).values()) < 0.05


def test_dropped_modes_cost_recall_alone() -> None:
    scores = precision_and_recall(modes(0, 8), modes(1, 4))
    assert scores["precision"] > 0.7
    assert scores["recall"] < 0.6


def test_a_smaller_variance_costs_recall_alone() -> None:
    scores = precision_and_recall(normal(0), 0.5 * normal(1))
    assert scores["precision"] > 0.95
    assert scores["recall"] < 0.3


def test_a_larger_variance_costs_precision_alone() -> None:
    scores = precision_and_recall(normal(0), 2 * normal(1))
    assert scores["precision"] < 0.4
    assert scores["recall"] > 0.9


def test_images_of_the_same_person_are_not_neighbours() -> None:
    """New people from the same distribution lie in nobody's ball, unless a ball reaches to other people."""
    (real, groups), (fake, fake_groups) = people(0), people(7)
    alone = precision_and_recall(real, fake) | density_and_coverage(real, fake)
    assert max(alone.values()) < 0.05
    scores = precision_and_recall(real, fake, groups=groups, fake_groups=fake_groups)
    assert min(scores.values()) > 0.6
    found = density_and_coverage(real, fake, groups=groups)
    assert found["coverage"] > 0.9
    assert found["density"] == pytest.approx(10, abs=2.5)  # ten images of a person lie at one place
    assert density_and_coverage(normal(0), normal(1), groups=groups)["density"] == pytest.approx(1, abs=0.15)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="10 samples in 5 groups: 5 neighbours need more"):
        density_and_coverage(normal(0, 10), normal(1, 10), groups=torch.arange(10) // 2)
