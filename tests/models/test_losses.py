"""Losses against values computed by hand."""

import math

import pytest
import torch

from unbraid.models.losses import discriminator_loss, generator_loss, information_loss, pose_loss


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
    assert pose_loss(fake, real) == 0
    fake[0, 1] = 3
    assert pose_loss(fake, real).item() == pytest.approx(9 / 108)
    fake[1, 2] = 1
    assert pose_loss(fake, real).item() == pytest.approx(10 / 108)
