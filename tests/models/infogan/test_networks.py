"""InfoGAN's networks at every preset's sizes."""

import pytest
import torch
from torch import nn

from unbraid.models.augment import random_affine
from unbraid.models.infogan.networks import Discriminator, Generator, Trunk
from unbraid.models.normalization import estimate_statistics
from unbraid.models.random import RandomSource
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.systems.infogan.config import Config

PRESETS = [name for name in preset_names() if name.startswith("infogan")]


def config_of(preset: str) -> Config:
    config = resolve(preset)
    assert isinstance(config, Config)
    return config


@pytest.mark.parametrize("preset", PRESETS)
def test_networks_accept_their_preset_sizes(preset: str) -> None:
    config = config_of(preset)
    sizes = config.networks
    generator = Generator(sizes.generator, config.codes, sizes.image)
    discriminator = Discriminator(sizes.trunk, config.codes, sizes.image)
    images = generator(torch.randn(3, config.codes.latent_width))
    assert images.shape == (3, *sizes.image.shape)
    low = 0 if sizes.generator.output == "sigmoid" else -1
    assert images.min() >= low
    assert images.max() <= 1
    real_logits, fake_logits, head = discriminator(images, images)
    assert real_logits.shape == fake_logits.shape == (3,)
    assert head.shape == discriminator.q(images).shape == (3, config.codes.head_width)


@pytest.mark.parametrize("preset", PRESETS)
def test_networks_refuse_other_sizes(preset: str) -> None:
    config = config_of(preset)
    sizes = config.networks
    with pytest.raises(ValueError, match="the generator takes"):
        Generator(sizes.generator, config.codes, sizes.image)(torch.randn(3, config.codes.latent_width + 1))
    with pytest.raises(ValueError, match="the trunk takes"):
        Trunk(sizes.trunk, sizes.image)(torch.randn(3, sizes.image.channels, 20, 20))


def test_reference_layers_are_those_of_the_paper() -> None:
    config = config_of("infogan-mnist-reference")
    generator = Generator(config.networks.generator, config.codes, config.networks.image)
    trunk = Trunk(config.networks.trunk, config.networks.image)
    assert [tuple(m.weight.shape) for m in generator.modules() if isinstance(m, nn.Linear)] == [(1024, 74), (6272, 1024)]
    assert [tuple(m.weight.shape) for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)] == [
        (128, 64, 4, 4),
        (64, 1, 4, 4),
    ]
    assert [tuple(m.weight.shape) for m in trunk.modules() if isinstance(m, nn.Conv2d)] == [(64, 1, 4, 4), (128, 64, 4, 4)]
    assert [m.num_features for m in trunk.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)] == [128, 1024]
    weights = torch.cat([m.weight.flatten() for m in trunk.modules() if isinstance(m, nn.Linear | nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)


def test_chairs_have_kernels_of_four_pixels_at_every_stride() -> None:
    sizes, codes = config_of("infogan-chairs").networks, config_of("infogan-chairs").codes
    for network in (Generator(sizes.generator, codes, sizes.image), Trunk(sizes.trunk, sizes.image)):
        found = [(m.kernel_size, m.stride[0]) for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert sum(stride == 1 for _, stride in found) == 2
        assert {kernel for kernel, _ in found} == {(4, 4)}


def test_the_slope_is_the_reference_codes_where_the_settings_are() -> None:
    slopes = {preset: config_of(preset).networks.trunk.slope for preset in PRESETS}
    reference = {"infogan-mnist-reference", "infogan-mnist-plain"}
    assert slopes == {preset: 0.01 if preset in reference else 0.1 for preset in PRESETS}


def test_faces_have_one_setting_a_group_of_factors() -> None:
    """Appendix C.4: lambda, and the rates of D and of G."""
    found = []
    for preset in ("infogan-faces", "infogan-faces-elevation", "infogan-faces-lighting"):
        config = config_of(preset)
        found.append((config.loss.info_continuous, config.optim.lr_discriminator, config.optim.lr_generator))
    assert found == [(0.2, 2e-4, 5e-4), (0.1, 4e-4, 3e-4), (10, 8e-4, 3e-4)]


def test_affine_augmentation_is_fresh_for_each_image_and_differentiable() -> None:
    image = torch.rand(1, 1, 28, 28).expand(4, -1, -1, -1).clone().requires_grad_()
    warped = random_affine(image, RandomSource(0, torch.device("cpu")), degrees=15, scale=0.1, shear=0.2, shift=2)
    assert warped.shape == image.shape
    assert not torch.allclose(warped[0], warped[1])
    warped.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_affine_augmentation_of_no_strength_changes_nothing() -> None:
    image = torch.rand(2, 1, 28, 28)
    warped = random_affine(image, RandomSource(0, torch.device("cpu")), degrees=0, scale=0, shear=0, shift=0)
    assert torch.allclose(warped, image, atol=1e-5)


def test_affine_augmentation_shifts_by_at_most_its_pixels() -> None:
    image = torch.zeros(200, 1, 29, 29)
    image[:, :, 14, 14] = 1
    warped = random_affine(image, RandomSource(0, torch.device("cpu")), degrees=0, scale=0, shear=0, shift=2)
    rows, columns = torch.meshgrid(torch.arange(29.0), torch.arange(29.0), indexing="ij")
    centres = torch.stack([(warped[:, 0] * axis).sum((1, 2)) / warped[:, 0].sum((1, 2)) for axis in (rows, columns)])
    offsets = centres - 14
    assert offsets.abs().max() <= 2 + 1e-4
    assert offsets.abs().max() > 1.8


def test_a_pair_gives_what_two_calls_give() -> None:
    config = config_of("infogan-chairs")
    trunk, again = (Trunk(config.networks.trunk, config.networks.image) for _ in range(2))
    again.load_state_dict(trunk.state_dict())
    real, fake = torch.rand(6, 1, 64, 64), torch.rand(6, 1, 64, 64)
    features = trunk.forward_pair(real, fake)
    assert torch.allclose(features[0], again(real), atol=1e-4)
    assert torch.allclose(features[1], again(fake), atol=1e-4)


def test_statistics_for_evaluation_are_those_of_the_batches_given() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3, momentum=0.1))
    network(torch.randn(50, 3) * 9)
    batches = [torch.randn(40, 3) + 5 for _ in range(10)]
    estimate_statistics(network, network, batches)
    assert not network.training
    assert isinstance(network[0], nn.BatchNorm1d)
    assert isinstance(network[0].running_mean, torch.Tensor)
    assert torch.allclose(network[0].running_mean, torch.cat(batches).mean(0), atol=1e-5)
    assert network[0].momentum == 0.1
