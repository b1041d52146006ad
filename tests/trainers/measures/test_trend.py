"""What counts as a falling sequence: neither a rising nor a flat one may pass, however noisy."""

import numpy as np
import pytest

from unbraid.trainers.measures.trend import trend


def noise(seed: int, count: int = 200) -> list[float]:
    return list(np.random.default_rng(seed).normal(0, 1, count))


def test_a_line_is_found_to_the_digit() -> None:
    found = trend([5.0, 4.0, 3.0, 2.0])
    assert found.change == pytest.approx(-3)
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.falls


def test_change_and_error_are_those_of_scipy() -> None:
    from scipy.stats import linregress

    values = [3 - 0.01 * i + value for i, value in enumerate(noise(0, 50))]
    line, found = linregress(range(50), values), trend(values)
    assert found.change == pytest.approx(49 * line.slope)
    assert found.error == pytest.approx(49 * line.stderr)
    assert found.highest == pytest.approx(49 * (line.slope + 2 * line.stderr))


def test_a_rising_sequence_does_not_fall() -> None:
    """The last tenth over the maximum is below 1 for it too."""
    rising = [0.02 * i + value for i, value in enumerate(noise(1))]
    assert np.mean(rising[-20:]) < max(rising)
    assert not trend(rising).falls


def test_a_falling_sequence_falls() -> None:
    assert trend([-0.01 * i + value for i, value in enumerate(noise(2))]).falls


def test_a_flat_noisy_sequence_rarely_counts_as_falling() -> None:
    """Two errors are passed by chance by one in forty; half of them end lower than they began."""
    share = np.mean([trend(noise(seed)).falls for seed in range(400)])
    assert 0 < share < 0.06


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [3.0, 2.0, float("nan"), 0.0]])
def test_too_few_values_have_no_trend(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 3 finite values"):
        trend(values)
