"""Losses against values computed by hand."""

import math

import pytest
import torch

from unbraid.models.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    information_loss,
    norm_penalty,
    pose_loss,
    wasserstein_distance,
)


def test_undecided_discriminator_pays_log_four() -> None:
    assert discriminator_loss(torch.zeros(8), torch.zeros(8)).item() == pytest.approx(math.log(4))


def test_discriminator_loss_is_cross_entropy() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    expected = -torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()
    assert discriminator_loss(real, fake).item() == pytest.approx(expected.item())


def test_generator_loss_does_not_saturate_where_it_loses() -> None:
    logits = torch.tensor([-20.0], requires_grad=True)
    loss = generator_loss(logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(20.0, rel=1e-6)
    assert gradient.item() == pytest.approx(-1.0, rel=1e-6)


def test_information_is_weighted_by_kind_of_code() -> None:
    information = {"categorical_0": torch.tensor(2.0), "continuous_0": torch.tensor(-0.5), "continuous_1": torch.tensor(1.0)}
    assert information_loss(information, 1.0, 0.1).item() == pytest.approx(-2.0 - 0.1 * 0.5)


def test_where_a_missing_keypoint_would_be_is_not_asked() -> None:
    real = torch.zeros(2, 54)
    real[0, 2] = 1  # the first keypoint of the first pose is there
    fake = real.clone()
    fake[1, :2] = 5
    assert pose_loss(fake, real, counts_missing=False) == 0
    fake[0, 1] = 3
    assert pose_loss(fake, real, counts_missing=False).item() == pytest.approx(9 / 108)
    fake[1, 2] = 1
    assert pose_loss(fake, real, counts_missing=False).item() == pytest.approx(10 / 108)


def test_losses_of_rounded_inputs_are_computed_in_float32() -> None:
    """As under autocast: a mean in bfloat16 would be wrong in its third digit."""
    real, fake = (torch.randn(64, generator=torch.Generator().manual_seed(seed)).bfloat16() for seed in (0, 1))
    critic = torch.randn(64, generator=torch.Generator().manual_seed(2))
    for found, expected in (
        (discriminator_loss(real, fake), discriminator_loss(real.float(), fake.float())),
        (discriminator_loss(real, fake.float()), discriminator_loss(real.float(), fake.float())),
        (discriminator_loss(real.float(), fake), discriminator_loss(real.float(), fake.float())),
        (generator_loss(fake), generator_loss(fake.float())),
        (wasserstein_distance(real, fake), wasserstein_distance(real.float(), fake.float())),
        (wasserstein_distance(real.float(), fake), wasserstein_distance(real.float(), fake.float())),
        (wasserstein_distance(real, fake.float()), wasserstein_distance(real.float(), fake.float())),
        (norm_penalty(real.view(8, 8)), norm_penalty(real.view(8, 8).float())),
    ):
        assert found.dtype == torch.float32
        assert found.item() == expected.item()
    share = torch.full((1, 1), 0.5, dtype=torch.bfloat16)
    penalty = gradient_penalty(lambda x: x.float() @ critic, real[None], fake[None], share)
    assert penalty.dtype == torch.float32


def test_a_penalty_teaches_the_critic_and_not_what_made_its_samples() -> None:
    real, fake = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    weight = torch.ones(3, requires_grad=True)
    gradient_penalty(lambda x: x.square() @ weight, real, fake, torch.rand(4, 1)).backward()
    assert real.grad is None
    assert fake.grad is None
    assert weight.grad is not None


def test_the_norm_penalty_is_of_each_sample_over_all_its_numbers() -> None:
    samples = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, -1.0], [1.0, 1.0]]])  # root mean squares 2.5 and 1
    assert norm_penalty(samples).item() == pytest.approx(1.5**2 / 2)


def test_the_discriminators_two_terms_are_means_of_their_own() -> None:
    """As many fake samples as real ones are not needed: the one's mean is 0, the other's log 2."""
    assert discriminator_loss(torch.full((2,), 100.0), torch.zeros(5)).item() == pytest.approx(math.log(2))
    assert discriminator_loss(torch.zeros(5), torch.full((2,), -100.0)).item() == pytest.approx(math.log(2))


def test_a_critics_distance_is_of_means() -> None:
    assert wasserstein_distance(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([5.0, 6.0])).item() == pytest.approx(3 - 5.5)


def test_a_pose_is_compared_in_visible_coordinates_and_in_every_visibility() -> None:
    real = torch.zeros(1, 54)
    real[0, 5] = 1  # the second keypoint is there
    fake = real.clone()
    fake[0, 3], fake[0, 4] = 2, 3  # its row and column
    fake[0, 0], fake[0, 8] = 7, 0.5  # a row and a visibility of others that are not
    assert pose_loss(fake, real, counts_missing=False).item() == pytest.approx((4 + 9 + 0.25) / 54)
    assert pose_loss(fake, real, counts_missing=True).item() == pytest.approx((4 + 9 + 0.25 + 49) / 54)
