"""SSIM as PG²'s and DPIG's authors compute it, against scikit-image's numbers."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.measures.similarity_pg2 import grey, image_quality_pg2, ssim

SSIM = (0.9553397902063255, 0.9648849041975096, 0.9739448192023249)
MASK_SSIM = (0.9607082667009654, 0.9788920455576895, 0.9899198318164577)
"""Of the three images below, by ``structural_similarity(fake, real, win_size=7, data_range=real.max() - real.min())`` of
scikit-image 0.26 on Pillow's mode L, the second after both are multiplied by the mask."""


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
    assert ssim(grey(fake), grey(real)).tolist() == pytest.approx(SSIM, abs=1e-9)
    assert ssim(grey(fake) * mask, grey(real) * mask).tolist() == pytest.approx(MASK_SSIM, abs=1e-9)
    assert image_quality_pg2(fake, real, mask) == pytest.approx(
        {"ssim_pg2": np.mean(SSIM), "mask_ssim_pg2": np.mean(MASK_SSIM)}
    )
    assert image_quality_pg2(fake, real).keys() == {"ssim_pg2"}


def test_the_range_is_the_targets() -> None:
    """Half the contrast of the target changes the constants, which are of its range, not of the other image's."""
    fake, real, _ = images()
    assert ssim(grey(fake), grey(real)).tolist() != pytest.approx(ssim(grey(real), grey(fake)).tolist(), abs=1e-6)


def test_many_images_are_scored_as_few_are() -> None:
    fake, real, _ = images()
    many = ssim(grey(fake.repeat(30, 1, 1, 1)), grey(real.repeat(30, 1, 1, 1)))
    assert torch.allclose(many, ssim(grey(fake), grey(real)).repeat(30))


def test_grey_is_pillows() -> None:
    _, real, _ = images()
    for image in real:
        pixels = image.mul(255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(grey(image[None])[0, 0].numpy(), np.asarray(Image.fromarray(pixels).convert("L")))
    assert grey(torch.tensor([-0.5, 0.0, 1.5]).view(3, 1, 1, 1).expand(3, 3, 1, 1)).flatten().tolist() == [0, 0, 255]


def test_an_image_of_one_colour_has_a_score() -> None:
    flat = torch.full((2, 3, 8, 8), 0.5)
    assert image_quality_pg2(flat, flat) == {"ssim_pg2": 1.0}


def test_blackness_outside_of_the_mask_counts_as_equal_and_in_ours_does_not() -> None:
    torch.manual_seed(0)
    fake, real = torch.rand(2, 3, 40, 20), torch.rand(2, 3, 40, 20)
    mask = torch.zeros(2, 1, 40, 20)
    mask[:, :, 16:24, 8:12] = 1
    theirs, ours = image_quality_pg2(fake, real, mask)["mask_ssim_pg2"], image_quality(fake, real, mask)["mask_ssim"]
    assert theirs > 0.5
    assert ours < 0.2
