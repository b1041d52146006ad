"""A classifier finds out what differs between two sets of samples, and nothing where nothing does."""

import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures.two_sample import two_sample_accuracy

COUNT, WIDTH = 1200, 64
pytestmark = pytest.mark.usefixtures("one_thread")


def normal(seed: int, count: int = COUNT, width: int = WIDTH) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def modes(seed: int, kept: int, count: int = COUNT) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = 0.8 * normal(99, 8)
    return normal(seed, count) + centres[torch.randint(kept, (count,), generator=generator)]


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_distributions_cannot_be_told_apart(seed: int) -> None:
    assert two_sample_accuracy(normal(2 * seed), normal(2 * seed + 1)) == pytest.approx(0.5, abs=0.05)
    assert two_sample_accuracy(modes(2 * seed, 8), modes(2 * seed + 1, 8)) == pytest.approx(0.5, abs=0.05)


def test_a_shift_is_found() -> None:
    assert two_sample_accuracy(normal(0), normal(1) + 0.3) > 0.75


def test_dropped_modes_are_found() -> None:
    assert two_sample_accuracy(modes(0, 8), modes(1, 4)) > 0.65


def test_a_smaller_variance_is_found() -> None:
    assert two_sample_accuracy(normal(0), 0.8 * normal(1)) > 0.75


def test_lost_correlations_are_found() -> None:
    """Means and variances are right."""
    pairs = normal(0)
    pairs[:, 1::2] = 0.8 * pairs[:, ::2] + 0.6 * pairs[:, 1::2]
    shuffled = torch.stack([column[torch.randperm(COUNT, generator=torch.Generator().manual_seed(i))] for i, column in
                            enumerate(pairs.T)], 1)  # fmt: skip
    assert two_sample_accuracy(pairs, shuffled) > 0.65


def test_classes_of_different_size_weigh_the_same() -> None:
    """Else four in five would be right without looking."""
    assert two_sample_accuracy(normal(0, 2000), normal(1, 500)) == pytest.approx(0.5, abs=0.06)


def test_groups_that_are_in_both_halves_would_be_recognised() -> None:
    """Forty people of thirty images each, against as many others: nothing but who they are differs."""
    real, fake = [normal(seed, 40).repeat_interleave(30, 0) + 0.1 * normal(10 + seed) for seed in (0, 1)]
    groups = torch.arange(40).repeat_interleave(30)
    assert two_sample_accuracy(real, fake) > 0.9
    assert two_sample_accuracy(real, fake, groups, groups) == pytest.approx(0.5, abs=0.15)


def test_it_leaves_torchs_random_numbers_alone_and_repeats_itself() -> None:
    state = torch.random.get_rng_state()
    assert two_sample_accuracy(normal(0), normal(1)) == two_sample_accuracy(normal(0), normal(1))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_group_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="in 1 group cannot be halved"):
        two_sample_accuracy(normal(0), normal(1), torch.zeros(COUNT, dtype=torch.long))
