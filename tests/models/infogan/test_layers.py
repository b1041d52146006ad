"""InfoGAN's layers: each one's numbers, and networks against their layers written out."""

import math
from typing import Literal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unbraid.models.image_spec import ImageSpec
from unbraid.models.infogan.codes import CodeSample, sample_codes, split_head
from unbraid.models.infogan.networks import Discriminator, Generator, QHead, Trunk, _up
from unbraid.models.infogan.specs import CodeSpec, GeneratorSpec, LayerSpec, TrunkSpec
from unbraid.models.normalization import NORMS
from unbraid.models.random import RandomSource

CODES = CodeSpec(noise=3, categorical=(4,), continuous=1)
IMAGE = ImageSpec(2, 8, 12)
KEEPS, BARE = LayerSpec(5, 1, kernel=3), LayerSpec(6, 2, norm=False)
GENERATOR = GeneratorSpec(hidden=9, start_channels=7, layers=(KEEPS, BARE), output="tanh")
TRUNK = TrunkSpec(layers=(BARE, KEEPS), hidden=11, q_hidden=10, slope=0.3)


def described(network: nn.Module) -> list[object]:
    """Each layer as a tuple of what it is made of."""
    found: list[object] = []
    for m in network.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            found.append((m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0], m.bias is not None))
        elif isinstance(m, nn.Linear):
            found.append((m.in_features, m.out_features, m.bias is not None))
        elif isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            found.append(m.num_features)
        elif isinstance(m, nn.LeakyReLU):
            found.append(m.negative_slope)
        elif not list(m.children()):
            found.append(type(m).__name__)
    return found


def test_a_generators_layers_are_those_of_its_spec() -> None:
    """A layer has a bias where no batch norm follows; the kernel is the spec's, 4 unless named."""
    assert described(Generator(GENERATOR, CODES, IMAGE)) == [
        (8, 9, False), 9, "ReLU", (9, 7 * 2 * 3, False), 42, "ReLU",
        (7, 5, 3, 1, 1, False), 5, "ReLU", (5, 6, 4, 2, 1, True), "ReLU", (6, 2, 4, 2, 1, True), "Tanh",
    ]  # fmt: skip


def test_a_generator_without_a_hidden_layer_ends_in_a_sigmoid() -> None:
    generator = Generator(GeneratorSpec(None, 7, (), "sigmoid"), CODES, IMAGE)
    assert described(generator) == [(8, 7 * 4 * 6, False), 168, "ReLU", (7, 2, 4, 2, 1, True), "Sigmoid"]
    assert generator(torch.randn(3, 8)).shape == (3, 2, 8, 12)


def test_a_trunks_layers_are_those_of_its_spec() -> None:
    trunk = Trunk(TRUNK, IMAGE)
    assert described(trunk) == [
        (2, 6, 4, 2, 1, True), 0.3, (6, 5, 3, 1, 1, False), 5, 0.3, "Flatten", (5 * 4 * 6, 11, False), 11, 0.3,
    ]  # fmt: skip
    assert trunk.width == 11
    assert Trunk(TrunkSpec((BARE,), None), IMAGE).width == 6 * 4 * 6


def test_a_q_head_has_one_hidden_layer() -> None:
    assert described(QHead(TRUNK, CODES, 11)) == [(11, 10, False), 10, 0.3, (10, 5, True)]


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_every_layer_begins_with_the_weights_of_dcgan(network: str) -> None:
    torch.manual_seed(0)
    large = CodeSpec(noise=200, categorical=(90,), continuous=10)
    wide = TrunkSpec((LayerSpec(40), LayerSpec(60)), hidden=70, q_hidden=80)
    built = Generator(GeneratorSpec(60, 40, (LayerSpec(40),)), large, ImageSpec(3, 16, 16))
    for layer in (built if network == "generator" else Discriminator(wide, large, ImageSpec(3, 16, 16))).modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.25)  # 70 weights are the fewest
            assert layer.bias is None or (layer.bias == 0).all()


@pytest.mark.parametrize("shape", [(2, 9), (2, 8, 1), (8,)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the generator takes \(B, 8\) latents, got"):
        Generator(GENERATOR, CODES, IMAGE)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 2, 12, 8), (2, 2, 8, 12, 1), (2, 8, 12)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the trunk takes \(B, 2, 8, 12\) images, got"):
        Trunk(TRUNK, IMAGE)(torch.zeros(shape))


def test_a_discriminator_scores_both_and_reads_codes_of_generated_images_only() -> None:
    torch.manual_seed(0)
    network = Discriminator(TRUNK, CODES, IMAGE).eval()
    real, fake = torch.rand(3, 2, 8, 12), torch.rand(5, 2, 8, 12)
    of_real, of_fake, head = network(real, fake)
    assert torch.allclose(of_real, network.head(network.trunk(real))[:, 0], atol=1e-6)
    assert torch.allclose(of_fake, network.head(network.trunk(fake))[:, 0], atol=1e-6)
    assert torch.allclose(head, network.q_head(network.trunk(fake)), atol=1e-6)
    logits, again = network.forward_fake(fake)
    assert torch.allclose(logits, of_fake, atol=1e-6)
    assert torch.allclose(again, head, atol=1e-6)
    assert torch.equal(network.q(fake), again)


def test_halves_of_a_pair_are_normalised_by_themselves() -> None:
    torch.manual_seed(0)
    trunk = Trunk(TRUNK, IMAGE)
    real, fake = torch.rand(3, 2, 8, 12), 5 * torch.rand(6, 2, 8, 12)
    features = trunk.forward_pair(real, fake)
    assert torch.allclose(features[0], trunk(real), atol=1e-5)
    assert torch.allclose(features[1], trunk(fake), atol=1e-5)
    assert sum(isinstance(m, NORMS) for m in trunk.layers) == 2


# --- codes ----------------------------------------------------------------------------------------------------------------


def test_uniform_noise_and_continuous_codes_fill_minus_one_to_one() -> None:
    sample = sample_codes(CodeSpec(noise=2, continuous=2), RandomSource(0, torch.device("cpu")), 2000)
    for values in (sample.noise, sample.continuous):
        assert -1 <= values.min() < -0.99
        assert 0.99 < values.max() < 1
        assert values.mean().item() == pytest.approx(0, abs=0.05)


def test_normal_noise_has_a_deviation_of_one() -> None:
    sample = sample_codes(CodeSpec(noise=2, noise_prior="normal"), RandomSource(0, torch.device("cpu")), 5000)
    assert sample.noise.std().item() == pytest.approx(1, abs=0.03)
    assert sample.noise.abs().max() > 2


def test_a_number_that_rounds_up_to_one_is_the_last_class() -> None:
    class Ones(RandomSource):
        def uniform(self, batch: int, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
            return torch.full((batch, *shape), high)

    sample = sample_codes(CodeSpec(categorical=(3, 5)), Ones(0, torch.device("cpu")), 2)
    assert sample.categorical.tolist() == [[2, 4], [2, 4]]
    assert isinstance(sample, CodeSample)


def test_a_head_in_bfloat16_is_read_in_float32() -> None:
    posterior = split_head(CODES, torch.zeros(2, 5, dtype=torch.bfloat16))
    assert posterior.mean.dtype == posterior.log_variance.dtype == posterior.logits[0].dtype == torch.float32


@pytest.mark.parametrize("shape", [(5,), (2, 5, 1), (2, 6)])
def test_a_head_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"but these codes need \(B, 5\)"):
        split_head(CODES, torch.zeros(shape))


# --- sizes ----------------------------------------------------------------------------------------------------------------


def test_a_layout_counts_each_code_once() -> None:
    spec = CodeSpec(noise=5, categorical=(3, 4), continuous=2, variance=("learnt", "fixed"))
    assert spec.latent_width == 5 + 3 + 4 + 2
    assert spec.head_width == 3 + 4 + 2 + 1
    assert spec.names == ("categorical_0", "categorical_1", "continuous_0", "continuous_1")
    assert spec.variances == ("learnt", "fixed")
    assert CodeSpec(continuous=3, variance="learnt").variances == ("learnt",) * 3
    logs = [math.log(3), math.log(4), math.log(2), math.log(2)]
    assert list(spec.entropies.values()) == pytest.approx(logs)
    fixed = math.log(2) - math.log(math.sqrt(2 * math.pi))
    assert list(spec.ceilings.values()) == pytest.approx([*logs[:2], fixed + math.log(10), fixed])


def test_the_smallest_layouts_and_layers_are_taken() -> None:
    assert CodeSpec(noise=0, categorical=(2,), continuous=0).head_width == 2
    assert CodeSpec(noise=0, categorical=(), continuous=1).latent_width == 1
    assert LayerSpec(1).channels == 1


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, (1, 1)), (4, 1, (1, 2)), (4, 2, (1, 1)), (5, 2, (1, 2))])
def test_padding_keeps_or_halves_the_image_and_the_surplus_comes_last(
    kernel: int, stride: Literal[1, 2], padding: tuple[int, int]
) -> None:
    """TensorFlow's SAME, written out for an image of 8x12: the convolution of the padded image, and its transpose."""
    torch.manual_seed(0)
    layer = LayerSpec(5, stride, norm=False, kernel=kernel)
    assert layer.padding == padding
    image, left_right_top_bottom = torch.randn(3, 2, 8, 12), (*padding, *padding)
    trunk = Trunk(TrunkSpec((layer,), None), IMAGE)
    convolution = next(m for m in trunk.modules() if isinstance(m, nn.Conv2d))
    padded = F.pad(image, left_right_top_bottom)
    expected = F.leaky_relu(F.conv2d(padded, convolution.weight, convolution.bias, stride), 0.01)
    assert expected.shape[2:] == (8 // stride, 12 // stride)
    assert torch.allclose(trunk(image), expected.flatten(1), atol=1e-6)
    up = nn.Sequential(*_up(2, layer))
    assert isinstance(up[0], nn.ConvTranspose2d)
    rows, columns = stride * 8, stride * 12
    whole = F.conv_transpose2d(image, up[0].weight, up[0].bias, stride)
    cropped = whole[:, :, padding[0] : padding[0] + rows, padding[0] : padding[0] + columns]
    assert torch.allclose(up(image), F.relu(cropped), atol=1e-6)


def test_a_kernel_smaller_than_its_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel must be at least as large as the stride, 2, got 1"):
        LayerSpec(3, 2, kernel=1)


@pytest.mark.parametrize("channels", [0, -1])
def test_layers_without_channels_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"channels must be at least 1, got {channels}"):
        LayerSpec(channels)


@pytest.mark.parametrize("fields", [{"noise": -1}, {"continuous": -1}])
def test_negative_lengths_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="noise and continuous must not be negative"):
        CodeSpec(**fields)  # type: ignore[arg-type]


def test_the_defaults_are_the_papers_mnist() -> None:
    """Appendix C.1: 62 numbers of noise, a code of ten classes, two continuous ones; FC 1024, FC 7×7×128, 64 and then 1 map."""
    assert (CodeSpec().latent_width, CodeSpec().head_width) == (74, 12)
    assert described(Generator(GeneratorSpec(), CodeSpec(), ImageSpec())) == [
        (74, 1024, False), 1024, "ReLU", (1024, 6272, False), 6272, "ReLU",
        (128, 64, 4, 2, 1, False), 64, "ReLU", (64, 1, 4, 2, 1, True), "Sigmoid",
    ]  # fmt: skip
    assert described(Discriminator(TrunkSpec(), CodeSpec(), ImageSpec())) == [
        (1, 64, 4, 2, 1, True), 0.01, (64, 128, 4, 2, 1, False), 128, 0.01, "Flatten", (6272, 1024, False), 1024, 0.01,
        (1024, 1, True), (1024, 128, False), 128, 0.01, (128, 12, True),
    ]  # fmt: skip


def test_factors_count_layers_of_stride_two() -> None:
    assert GENERATOR.upsampling == 4
    assert TRUNK.downsampling == 2


def test_an_image_is_divided_only_where_both_sides_can_be() -> None:
    assert ImageSpec(1, 4, 8).divided(4, "a network") == (1, 2)
    assert ImageSpec(3, 4, 8).shape == (3, 4, 8)
    for height, width in ((6, 8), (8, 6)):
        with pytest.raises(ValueError, match=f"a network changes the image by a factor of 4, .* divide {height}x{width}"):
            ImageSpec(1, height, width).divided(4, "a network")
