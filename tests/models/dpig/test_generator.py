"""DPIG's networks: sizes as published, and what each can and cannot see."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.dpig.test_pose import nobody, somebody
from unbraid.models.dpig.embeddings import EmbeddingCritics, NoiseMappings, PoseAutoencoder
from unbraid.models.dpig.generator import (
    AppearanceEncoder,
    Decoder,
    Discriminator,
    Generator,
    Modulation,
    TiledConvolution,
)
from unbraid.models.dpig.pose import KEYPOINTS, body_mask
from unbraid.models.dpig.specs import (
    Conditioning,
    DecoderSpec,
    DiscriminatorSpec,
    DrawingSpec,
    EncoderSpec,
    MappingSpec,
    PoseSpec,
)
from unbraid.models.image_spec import ImageSpec
from unbraid.models.losses import gradient_penalty, wasserstein_distance
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.systems.dpig.appearance.config import Config

IMAGE = ImageSpec(3, 64, 32)
DRAWING = DrawingSpec(2, 3, 3, 3, 5)
SMALL = EncoderSpec(channels=4, blocks=4, region_blocks=3, crop=16, region=5, background=7)


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 64, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_embeddings_are_as_long_as_published() -> None:
    with torch.device("meta"):
        encoder = AppearanceEncoder(EncoderSpec(channels=8), DrawingSpec(), ImageSpec(3, 128, 64))
        foreground, background = encoder(torch.empty(2, 3, 128, 64), torch.empty(2, KEYPOINTS, 3))
        decoder = Decoder(DecoderSpec(channels=8), EncoderSpec(), DrawingSpec(), ImageSpec(3, 128, 64))
        fake = decoder(foreground, background, torch.empty(2, KEYPOINTS, 3))
    assert foreground.shape == (2, 224)
    assert background.shape == (2, 128)
    assert fake.shape == (2, 3, 128, 64)
    assert PoseAutoencoder(PoseSpec()).encode(torch.zeros(2, 54)).shape == (2, 32)


def test_a_tiled_vector_needs_no_tiles() -> None:
    layer = TiledConvolution(vector=6, maps=4, channels=5, size=(8, 6))
    torch.nn.init.normal_(layer.vector)
    vector, maps = torch.randn(3, 6), torch.randn(3, 4, 8, 6)
    tiled = torch.cat([maps, vector[:, :, None, None].expand(-1, -1, 8, 6)], 1)
    weight = torch.cat([layer.maps.weight, layer.vector], 1)
    expected = F.conv2d(tiled, weight, layer.maps.bias, padding=1)
    assert torch.allclose(layer(vector, maps), expected, atol=1e-4)


def test_the_background_branch_cannot_see_the_person() -> None:
    encoder, keypoints, before = AppearanceEncoder(SMALL, DRAWING, IMAGE), somebody(), images()
    # the stem's three convolutions see three pixels far, so that much of the mask's rim is the background's too
    inside = -F.max_pool2d(-body_mask(keypoints, (64, 32), 3, 3), 7, 1, 3)
    assert inside.sum() > 0
    after = torch.where(inside > 0, -before, before)
    assert torch.allclose(encoder(before, keypoints)[1], encoder(after, keypoints)[1], atol=1e-6)
    assert not torch.allclose(encoder(before, keypoints)[0], encoder(after, keypoints)[0])


def test_the_foreground_branch_cannot_see_the_background() -> None:
    encoder, keypoints, before = AppearanceEncoder(SMALL, DRAWING, IMAGE), somebody(), images()
    near = F.max_pool2d(body_mask(keypoints, (64, 32), 3, 3), 7, 1, 3)
    assert near.min() == 0
    after = torch.where(near > 0, before, -before)
    assert torch.allclose(encoder(before, keypoints)[0], encoder(after, keypoints)[0], atol=1e-6)
    assert not torch.allclose(encoder(before, keypoints)[1], encoder(after, keypoints)[1])


def test_the_plain_control_sees_everything_in_both_branches() -> None:
    plain = EncoderSpec("plain", 4, 4, 3, 16, 5, 7)
    encoder, keypoints, before = AppearanceEncoder(plain, DRAWING, IMAGE), somebody(), images()
    mask = body_mask(keypoints, (64, 32), 3, 3)
    for where in (mask, 1 - mask):
        after = torch.where(where > 0, -before, before)
        for branch in range(2):
            assert not torch.allclose(encoder(before, keypoints)[branch], encoder(after, keypoints)[branch])


@pytest.mark.parametrize(
    ("control", "kinds"),
    [("plain", ("plain", "plain")), ("plain-encoder", ("plain", "factored")), ("plain-decoder", ("factored", "plain"))],
)
def test_the_controls_are_of_equal_size_and_differ_in_what_they_name(control: str, kinds: tuple[str, str]) -> None:
    sizes = []
    for preset in ("dpig-people-small-appearance", f"dpig-people-small-appearance-{control}"):
        config = resolve(preset)
        assert isinstance(config, Config)
        networks = config.networks
        generator = Generator(networks.encoder, networks.decoder, networks.drawing, networks.image)
        sizes.append(sum(p.numel() for p in generator.parameters()))
    assert (networks.encoder.kind, networks.decoder.kind) == kinds
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)
    if networks.encoder.kind == "plain":
        assert sizes[1] >= sizes[0]


def test_a_plain_encoder_leaves_the_decoder_factored() -> None:
    """Each control changes one of the two."""
    modulation = Decoder(
        DecoderSpec(4, 3, 8, "modulated"), EncoderSpec("plain", 4, 4, 3, 16, 5, 7), DRAWING, IMAGE
    ).modulations[0]
    assert isinstance(modulation, Modulation)
    assert [linear.in_features for linear in modulation.linears if isinstance(linear, nn.Linear)] == [35, 7]


def test_somebody_who_cannot_be_found_has_no_foreground() -> None:
    foreground, background = AppearanceEncoder(SMALL, DRAWING, IMAGE)(images(), nobody(2))
    assert foreground.abs().sum() == 0
    assert background.abs().sum() > 0


@pytest.mark.parametrize("conditioning", ["tiled", "modulated"])
def test_every_weight_of_stage_one_learns(conditioning: Conditioning) -> None:
    generator = Generator(SMALL, DecoderSpec(4, 4, 8, conditioning), DRAWING, IMAGE)
    generator(images(), somebody()).square().sum().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_visibilities_are_rounded_and_still_have_gradients() -> None:
    autoencoder = PoseAutoencoder(PoseSpec(hidden=16, pairs=1, embedding=4))
    decoded = autoencoder(torch.randn(5, 54)).view(5, KEYPOINTS, 3)
    assert set(decoded[:, :, 2].detach().unique().tolist()) <= {0.0, 1.0}
    decoded[:, :, 2].sum().backward()
    gradients = [p.grad for p in autoencoder.encoder.parameters()]
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)


def test_the_discriminator_is_dcgans() -> None:
    network = Discriminator(DiscriminatorSpec((8, 16)), IMAGE)
    real, fake = network(images(4), -images(4))
    assert real.shape == fake.shape == (4,)
    assert network.linear.in_features == 16 * 16 * 8


def test_standardised_mappings_draw_in_the_scale_of_stage_one() -> None:
    mapping = NoiseMappings({"pose": MappingSpec(8, 1)}, {"pose": 3}).as_dict()["pose"]
    mapping.mean.fill_(5.0)
    mapping.std.fill_(0.1)
    noise = torch.randn(4, 3)
    assert torch.allclose(mapping.standardise(mapping.draw(noise)), mapping(noise), atol=1e-5)
    assert torch.allclose(mapping.draw(noise), 5 + 0.1 * mapping(noise))


def test_the_gradient_penalty_of_a_linear_critic_is_known() -> None:
    weight = torch.tensor([3.0, 4.0])
    real, fake, share = torch.randn(6, 2), torch.randn(6, 2), torch.rand(6, 1)
    assert gradient_penalty(lambda x: x @ weight, real, fake, share).item() == pytest.approx((5 - 1) ** 2)
    assert wasserstein_distance(torch.tensor([3.0, 5.0]), torch.tensor([1.0])).item() == 3


def test_a_penalty_reaches_the_critics_weights() -> None:
    critics = EmbeddingCritics({"pose": MappingSpec(8, 1, 8, 2)}, {"pose": 3})
    results = critics({"pose": torch.randn(4, 3)}, {"pose": torch.randn(4, 3)}, torch.rand(4, 1))
    penalty = results["pose"][2]
    assert penalty is not None
    penalty.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in critics.parameters())
    assert critics({"pose": torch.randn(4, 3)}, {"pose": torch.randn(4, 3)}, None)["pose"][2] is None
