"""SSIM as PG²'s and DPIG's authors compute it, against scikit-image's numbers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.measures.similarity_pg2 import image_quality_pg2

SSIM = (0.9581828560414087, 0.9694971364288326, 0.9782501934626056)
MASK_SSIM = (0.9623693944781943, 0.9811074744919231, 0.9917117513367794)
"""Of the three images below, by scikit-image 0.26: ``structural_similarity(fake, real, data_range=real.max() - real.min())`` of
its ``rgb2gray``, and ``structural_similarity(fake, real, channel_axis=2)`` of bytes after both are multiplied by the mask."""


def images() -> tuple[Tensor, Tensor, Tensor]:
    """Fake and real images (3, 3, 20, 12) in [0, 1], and their mask (3, 1, 20, 12)."""
    row, column, channel = np.mgrid[0:20, 0:12, 0:3]
    n = np.arange(3)[:, None, None, None]
    real = (7 * row + 11 * column + 40 * channel + 3 * row * column * (n + 1) + 50 * n) % 256
    fake = (real + 9 * ((row + 2 * column + n) % 5) - 12 * (n - 1)).clip(0, 255)
    mask = (row > 4) & (row < 16) & (column > 2) & (column < 10)
    both = [torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 for array in (fake, real)]
    return both[0], both[1], torch.from_numpy(mask[None, None, :, :, 0]).float().expand(3, -1, -1, -1)


def test_scores_are_scikit_images() -> None:
    fake, real, mask = images()
    for i in range(3):
        scores = image_quality_pg2(fake[i : i + 1], real[i : i + 1], mask[i : i + 1])
        assert scores == pytest.approx({"ssim_pg2": SSIM[i], "mask_ssim_pg2": MASK_SSIM[i]}, abs=1e-9)
    assert image_quality_pg2(fake, real, mask) == pytest.approx(
        {"ssim_pg2": np.mean(SSIM), "mask_ssim_pg2": np.mean(MASK_SSIM)}
    )
    assert image_quality_pg2(fake, real).keys() == {"ssim_pg2"}


def test_the_range_is_the_targets() -> None:
    fake, real, _ = images()
    assert image_quality_pg2(fake, real)["ssim_pg2"] != pytest.approx(image_quality_pg2(real, fake)["ssim_pg2"], abs=1e-6)


def test_many_images_are_scored_as_few_are() -> None:
    fake, real, mask = images()
    many = image_quality_pg2(*(values.repeat(30, 1, 1, 1) for values in (fake, real, mask)))
    assert many == pytest.approx(image_quality_pg2(fake, real, mask))


def test_numbers_outside_of_the_range_are_clipped() -> None:
    fake, real, _ = images()
    fake[fake == 0], fake[fake == 1] = -0.5, 1.5
    assert image_quality_pg2(fake, real) == pytest.approx({"ssim_pg2": np.mean(SSIM)})


def test_an_image_of_one_colour_has_a_score() -> None:
    flat = torch.full((2, 3, 8, 8), 0.5)
    assert image_quality_pg2(flat, flat) == pytest.approx({"ssim_pg2": 1.0})


def test_blackness_outside_of_the_mask_counts_as_equal_and_in_ours_does_not() -> None:
    torch.manual_seed(0)
    fake, real = torch.rand(2, 3, 40, 20), torch.rand(2, 3, 40, 20)
    mask = torch.zeros(2, 1, 40, 20)
    mask[:, :, 16:24, 8:12] = 1
    theirs, ours = image_quality_pg2(fake, real, mask)["mask_ssim_pg2"], image_quality(fake, real, mask)["mask_ssim"]
    assert theirs > 0.5
    assert ours < 0.2
