"""Agreement of codes with classes."""

import numpy as np
import pytest

from unbraid.trainers.measures.clustering import clustering


def test_a_permuted_assignment_agrees_wholly() -> None:
    classes = np.arange(1000) % 10
    result = clustering((classes + 3) % 10, classes, 10)
    assert result.accuracy == result.ari == 1.0
    assert result.nmi == pytest.approx(1.0)
    assert result.order.tolist() == [(c + 3) % 10 for c in range(10)]


def test_chance_is_near_a_tenth() -> None:
    generator = np.random.default_rng(0)
    result = clustering(generator.integers(0, 10, 10_000), generator.integers(0, 10, 10_000), 10)
    assert 0.1 < result.accuracy < 0.12
    assert abs(result.ari) < 0.005


def test_matching_is_one_to_one() -> None:
    # one code for all: only the largest class counts, not all of them
    result = clustering(np.zeros(10, np.int64), np.array([0] * 6 + [1] * 4), 2)
    assert result.accuracy == 0.6


def test_more_codes_than_classes_leave_some_unmatched() -> None:
    result = clustering(np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1]), 4)
    assert result.accuracy == 0.5
    assert sorted(result.order.tolist()) == [0, 1, 2, 3]


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        clustering(np.zeros(0, np.int64), np.zeros(0, np.int64), 10)
