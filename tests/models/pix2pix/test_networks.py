"""Pix2pix's networks: the published sizes, what a patch sees, skip connections, and dropout as an input."""

import pytest
import torch
from torch import Tensor, nn

from unbraid.models.image_spec import ImageSpec
from unbraid.models.pix2pix.networks import Discriminator, Generator
from unbraid.models.pix2pix.specs import DiscriminatorSpec, GeneratorSpec, halvings
from unbraid.models.random import RandomSource

CPU = torch.device("cpu")
PUBLISHED, SMALL = ImageSpec(3, 256, 256), ImageSpec(3, 32, 32)
SPEC = GeneratorSpec(4)
pytestmark = pytest.mark.usefixtures("one_thread")


def small_generator(spec: GeneratorSpec = SPEC) -> Generator:
    torch.manual_seed(0)
    return Generator(spec, SMALL)


def test_the_defaults_have_the_published_numbers_of_parameters() -> None:
    """As the authors' code counts them for its U-Net of 256 and its discriminator of 70×70: 54.414 and 2.769 million."""
    with torch.device("meta"):
        networks = Generator(GeneratorSpec(), PUBLISHED), Discriminator(DiscriminatorSpec(), PUBLISHED)
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == pytest.approx([54.414e6, 2.769e6], rel=2e-4)


def test_the_depth_follows_the_image() -> None:
    assert [halvings(ImageSpec(3, side, side)) for side in (8, 32, 256, 512)] == [3, 5, 8, 9]
    assert halvings(ImageSpec(3, 128, 48)) == 4
    assert GeneratorSpec().widths(PUBLISHED) == [64, 128, 256, 512, 512, 512, 512, 512]
    generator = Generator(GeneratorSpec(2), ImageSpec(1, 16, 48))
    images = torch.randn(2, 1, 16, 48)
    assert [tuple(maps.shape[1:]) for maps in generator.encode(images)] == [(2, 8, 24), (4, 4, 12), (8, 2, 6), (16, 1, 3)]
    assert generator(images, generator.draw_masks(RandomSource(0, CPU), 2)).shape == images.shape


def reached(generator: Generator, masks: list[Tensor]) -> list[bool]:
    """Whether a translation's gradient reaches each map of the encoder, from the largest on."""
    maps: list[Tensor] = []
    for layer in generator.encoder:
        layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    loss = generator(torch.randn(2, 3, 32, 32), masks).square().sum()
    return [g is not None and bool(g.any()) for g in torch.autograd.grad(loss, maps, allow_unused=True)]


@pytest.mark.parametrize("kept", range(5))
def test_each_map_of_the_encoder_is_joined_to_the_decoders_map_of_its_size(kept: int) -> None:
    """Where the decoder's smaller maps are dropped, the encoder's map beside the first one that is kept still counts."""
    generator = small_generator(GeneratorSpec(4, dropped=4))
    assert [shape[1:] for shape in generator.mask_shapes] == [(2, 2), (4, 4), (8, 8), (16, 16)]
    masks = [torch.full((2, *shape), float(i >= 4 - kept)) for i, shape in enumerate(generator.mask_shapes)]
    assert reached(generator, masks) == [level <= kept for level in range(5)]


def test_the_smallest_map_has_no_norm_and_a_batch_of_one_is_not_zero() -> None:
    """A batch norm over one image of 1×1 would leave nothing of it."""
    generator = small_generator().train()
    norms = [any(isinstance(module, nn.BatchNorm2d) for module in layer.modules()) for layer in generator.encoder]
    assert norms == [False, True, True, True, False]
    assert generator.encode(torch.randn(1, 3, 32, 32))[-1].abs().sum() > 0


def test_masks_drop_and_scale_as_dropout_does() -> None:
    generator = small_generator(GeneratorSpec(4, dropout=0.25))
    masks = generator.draw_masks(RandomSource(3, CPU), 500)
    assert [tuple(mask.shape[1:]) for mask in masks] == [(32, 2, 2), (16, 4, 4), (8, 8, 8)]
    for mask in masks:
        assert mask.unique().tolist() == pytest.approx([0, 4 / 3])
        assert (mask == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    again = generator.draw_masks(RandomSource(3, CPU), 500)
    assert all(torch.equal(a, b) for a, b in zip(masks, again, strict=True))
    assert small_generator(GeneratorSpec(4, dropout=0)).draw_masks(RandomSource(3, CPU), 5) == []


def test_dropout_is_on_in_evaluation_mode_and_comes_from_the_masks_alone() -> None:
    generator, images = small_generator().eval(), torch.randn(2, 3, 32, 32)
    source = RandomSource(0, CPU)
    first, second = generator.draw_masks(source, 2), generator.draw_masks(source, 2)
    assert torch.equal(generator(images, first), generator(images, first))
    assert not torch.equal(generator(images, first), generator(images, second))


@pytest.mark.parametrize(("channels", "side"), [((64, 128, 256, 512), 70), ((64, 128), 16), ((8, 8, 8), 34)])
def test_a_logit_sees_a_patch_of_the_side_that_is_said(channels: tuple[int, ...], side: int) -> None:
    """70×70 and 16×16 as published. Outside of the patch nothing changes the logit."""
    assert DiscriminatorSpec(channels).patch == side
    spec, image = DiscriminatorSpec(tuple(2 for _ in channels)), ImageSpec(1, 128, 128)
    torch.manual_seed(0)
    critic = Discriminator(spec, image).eval()
    images = torch.randn(1, 1, 128, 128, requires_grad=True)
    logits = critic.logits(torch.randn(1, 1, 128, 128), images)
    rows, columns = spec.patches(image)
    assert logits.shape == (1, rows * columns)
    logits[0, (rows // 2) * columns + columns // 2].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [side, side]


def test_both_images_of_a_pair_are_judged() -> None:
    critic = Discriminator(DiscriminatorSpec((4, 8, 8)), SMALL).eval()
    given, images = torch.randn(2, 2, 3, 32, 32)
    of_real, of_fake = critic(given, images, images.flip(0))
    assert of_real.shape == (2, 36)
    assert torch.equal(of_real, critic.logits(given, images))
    assert torch.equal(of_fake, critic.logits(given, images.flip(0)))
    assert not torch.equal(of_real, of_fake)
    assert not torch.equal(of_real, critic.logits(given.flip(0), images))
