"""Checkerboards are measured where real images are flat, and slopes and edges are none."""

import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures.checkerboard import checkerboard_ratio, flat_regions, nyquist_energy

SIDE = 24


def image() -> Tensor:
    """A square on a flat ground, (1, 3, SIDE, SIDE)."""
    drawn = torch.full((1, 3, SIDE, SIDE), 0.4)
    drawn[:, 0, 8:16, 8:16] = 0.9
    return drawn


def alternation(kind: str) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    places = {"rows": rows, "columns": columns, "both": rows + columns}[kind]
    return 1 - 2.0 * (places % 2)


@pytest.mark.parametrize("kind", ["rows", "columns", "both"])
def test_an_alternation_has_its_squared_amplitude_and_a_slope_none(kind: str) -> None:
    inside = (..., slice(2, -2), slice(2, -2))
    energy = nyquist_energy(0.5 + 0.05 * alternation(kind).expand(1, 3, -1, -1))
    assert torch.allclose(energy[inside], torch.tensor(0.05**2), rtol=1e-3)
    slope = torch.linspace(0, 1, SIDE).expand(1, 3, SIDE, SIDE)
    assert nyquist_energy(slope)[inside].abs().max() < 1e-9


def test_flat_is_where_nothing_changes_in_any_channel() -> None:
    flat = flat_regions(image())[0, 0]
    assert flat[2, 2]
    assert flat[11, 11]
    assert not flat[8, 8]
    assert not flat[11, 6]


def test_the_ratio_is_one_for_real_images_and_grows_with_the_pattern() -> None:
    real = image()
    assert checkerboard_ratio(real, real) == 1
    assert checkerboard_ratio(real + 0.1, real) == pytest.approx(1, abs=1e-4), "another colour is no checkerboard"
    noisy = (real + 0.02 * alternation("both")).clamp(0, 1)
    assert checkerboard_ratio(noisy, real) == pytest.approx(1 + (0.02 / (0.5 / 255)) ** 2, rel=0.15)  # less at the rim
    assert checkerboard_ratio(noisy, noisy) == 1
    busy = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert checkerboard_ratio(noisy, busy) == 1, "no region is flat"
