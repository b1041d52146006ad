"""DPIG's layers: their sizes counted by hand, and what each computes written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.dpig.test_pose import somebody
from unbraid.models.dpig.embeddings import EmbeddingCritics, NoiseMapping, NoiseMappings, PoseAutoencoder, ResidualPair
from unbraid.models.dpig.generator import (
    AppearanceEncoder,
    Branch,
    Decoder,
    Discriminator,
    Modulation,
    Pyramid,
    ResidualBlock,
    TiledConvolution,
    halved,
)
from unbraid.models.dpig.pose import KEYPOINTS, body_mask, crop_regions, heat_maps, region_boxes
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
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.mapping.config import Config as MappingConfig

IMAGE = ImageSpec(3, 32, 16)
DRAWING = DrawingSpec(2, 3, 3, 3, 5)
ENCODER = EncoderSpec(channels=4, blocks=3, region_blocks=2, crop=8, region=5, background=7)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
    """Weights and biases of a convolution."""
    return kernel * kernel * inputs * outputs + outputs


def full(inputs: int, outputs: int) -> int:
    """Weights and biases of a fully connected layer."""
    return inputs * outputs + outputs


def pyramid(n: int, blocks: int) -> int:
    """Two convolutions in each block, one between two."""
    return sum(2 * conv(n * k, n * k) for k in range(1, blocks + 1)) + sum(conv(n * k, n * (k + 1)) for k in range(1, blocks))


def branch(n: int, blocks: int, height: int, width: int, outputs: int) -> int:
    return pyramid(n, blocks) + full(n * blocks * height * width, outputs)


def encoder(n: int, stem_in: int = 3) -> int:
    return conv(stem_in, n) + 2 * conv(n, n)


def decoder(n: int, blocks: int, embedding: int, height: int, width: int, bottleneck: int) -> int:
    """A U-Net: the last map of the descent through a narrow layer, then blocks on that joined by each map of the descent."""
    joined = [n + n * blocks, *(2 * n * k for k in range(blocks - 1, 0, -1))]
    ascent = sum(2 * conv(width, width) for width in joined)
    narrowing = sum(conv(width, n * k, 1) for width, k in zip(joined, range(blocks - 1, 0, -1), strict=False))
    first = conv(embedding + KEYPOINTS, n)
    narrow = full(n * blocks * height * width, bottleneck) + full(bottleneck, n * height * width)
    return first + pyramid(n, blocks) + narrow + ascent + narrowing + conv(2 * n, 3)


def test_the_encoder_has_the_papers_layers() -> None:
    size = encoder(4) + branch(4, 2, 4, 4, 5) + branch(4, 3, 8, 4, 7)
    assert count(AppearanceEncoder(ENCODER, DRAWING, IMAGE)) == size


def test_the_decoder_has_the_papers_layers() -> None:
    network = Decoder(DecoderSpec(6, 3, 9), ENCODER, DRAWING, IMAGE)
    assert count(network) == decoder(6, 3, 7 * 5 + 7, 8, 4, 9)


def test_the_published_sizes_are_the_papers() -> None:
    """Market-1501, section 4.3: n = 128, 5 blocks, crops of 48, 7 embeddings of 32 and one of 128, a bottleneck of 64."""
    image = ImageSpec(3, 128, 64)
    with torch.device("meta"):
        encodes = AppearanceEncoder(EncoderSpec(), DrawingSpec(), image)
        decodes = Decoder(DecoderSpec(), EncoderSpec(), DrawingSpec(), image)
        discriminator = Discriminator(DiscriminatorSpec(), image)
        pose = PoseAutoencoder(PoseSpec())
        mapping, critics = NoiseMapping(MappingSpec(), 32), EmbeddingCritics({"pose": MappingSpec()}, {"pose": 32})
    assert count(encodes) == encoder(128) + branch(128, 5, 3, 3, 32) + branch(128, 5, 8, 4, 128)
    assert count(decodes) == decoder(128, 5, 224 + 128, 8, 4, 64)
    convolutions = [5 * 5 * a * b for a, b in ((3, 64), (64, 128), (128, 256), (256, 512))]
    assert count(discriminator) == sum(convolutions) + 64 + 2 * (128 + 256 + 512) + full(512 * 8 * 4, 1)
    hidden = 4 * 2 * full(512, 512)
    assert count(pose) == full(54, 512) + hidden + full(512, 32) + full(32, 512) + hidden + full(512, 54)
    assert count(mapping) == full(32, 512) + hidden + full(512, 32)
    assert count(critics) == full(32, 512) + 3 * full(512, 512) + full(512, 1)


def test_slopes_of_leaky_relus_are_the_reference_codes() -> None:
    slopes = {m.slope for m in PoseAutoencoder(PoseSpec()).modules() if isinstance(m, ResidualPair)}
    assert slopes == {0.3}
    found = [m.negative_slope for m in Discriminator(DiscriminatorSpec(), IMAGE).modules() if isinstance(m, nn.LeakyReLU)]
    assert found == [0.2] * 4
    assert [m.negative_slope for m in NoiseMapping(MappingSpec(8), 3).layers if isinstance(m, nn.LeakyReLU)] == [0.3]
    critics = EmbeddingCritics({"pose": MappingSpec()}, {"pose": 3})
    assert [m.negative_slope for m in critics.modules() if isinstance(m, nn.LeakyReLU)] == [0.2] * 4


def test_a_drawing_has_the_papers_radii() -> None:
    """Discs of 4 pixels; the rest is the reference code's, whose mask "r6" has a radius of 7."""
    assert vars(DrawingSpec()) == vars(DrawingSpec(4, 7, 5, 6, 10))


@pytest.mark.parametrize("field", ["heat_radius", "mask_radius", "region_margin", "lone_margin"])
def test_a_drawing_without_extent_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="must be larger than 0 pixels"):
        DrawingSpec(**{field: 0.0})  # type: ignore[arg-type]
    DrawingSpec(**{field: 0.5})  # type: ignore[arg-type]


@pytest.mark.parametrize("closing", [-1, 0, 2])
def test_a_closing_of_even_side_is_refused(closing: int) -> None:
    with pytest.raises(ValueError, match=f"closing must be odd, got {closing}"):
        DrawingSpec(closing=closing)
    assert DrawingSpec(closing=1).closing == 1


def test_a_residual_block_adds_its_two_convolutions_to_its_input() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(3), torch.randn(2, 3, 5, 4)
    inner = F.relu(F.conv2d(x, block.first.weight, block.first.bias, padding=1))
    assert torch.allclose(block(x), x + F.relu(F.conv2d(inner, block.second.weight, block.second.bias, padding=1)), atol=1e-6)


def test_a_residual_pair_adds_its_two_layers_to_its_input() -> None:
    torch.manual_seed(0)
    pair, x = ResidualPair(4, 0.2), torch.randn(3, 4)
    expected = x + F.leaky_relu(pair.second(F.leaky_relu(pair.first(x), 0.2)), 0.2)
    assert torch.allclose(pair(x), expected)


def test_a_pyramid_halves_between_blocks_and_changes_their_inputs() -> None:
    torch.manual_seed(0)
    network, x = Pyramid(2, 3), torch.randn(2, 2, 10, 6)
    kept = network(x)
    assert [tuple(k.shape[1:]) for k in kept] == [(2, 10, 6), (4, 5, 3), (6, 3, 2)]
    second = F.relu(network.halvings[0](kept[0]))
    assert torch.allclose(kept[1], network.blocks[1](second), atol=1e-6)
    changed = network(x, [lambda maps, i=i: maps * (i + 2) for i in range(3)])
    assert torch.allclose(changed[0], network.blocks[0](2 * x), atol=1e-6)
    assert halved((10, 7), 3) == (2, 1)
    assert halved((10, 7), 0) == (10, 7)


def test_a_branch_ends_in_one_linear_layer_on_the_last_map() -> None:
    network = Branch(2, 2, (5, 4), 3)
    x = torch.randn(2, 2, 5, 4)
    assert torch.allclose(network(x), network.linear(network.pyramid(x)[-1].flatten(1)))
    assert network.linear.in_features == 2 * 2 * 3 * 2


def test_modulation_scales_and_shifts_channels_within_each_mask() -> None:
    torch.manual_seed(0)
    layer = Modulation((2, 3), channels=4)
    maps, vectors = torch.randn(2, 4, 2, 2), [torch.randn(2, 2), torch.randn(2, 3)]
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, :2, :2] = 1  # the first of the maps' four pixels
    found = layer(maps, vectors, [mask, None])
    (scale, shift), (all_scale, all_shift) = (linear(v).split(4, 1) for linear, v in zip(layer.linears, vectors, strict=True))
    first = maps[:, :, 0, 0] * (1 + scale + all_scale) + shift + all_shift
    assert torch.allclose(found[:, :, 0, 0], first, atol=1e-6)
    assert torch.allclose(found[:, :, 1, 1], maps[:, :, 1, 1] * (1 + all_scale) + all_shift, atol=1e-6)
    mask[:, :, :2, :1] = 0
    half = maps[:, :, 0, 0] * (1 + scale / 2 + all_scale) + shift / 2 + all_shift
    assert torch.allclose(layer(maps, vectors, [mask, None])[:, :, 0, 0], half, atol=1e-6)


def test_modulations_change_nothing_before_training_and_have_one_for_every_block() -> None:
    torch.manual_seed(0)
    keypoints, appearance = somebody(), (torch.randn(2, 35), torch.randn(2, 7))
    network = Decoder(DecoderSpec(6, 3, 9, "modulated"), ENCODER, DRAWING, IMAGE)
    before = network(*appearance, keypoints)
    assert len(network.modulations) == 2 * 3
    network.modulations = nn.ModuleList()
    assert torch.equal(network(*appearance, keypoints), before)


def test_the_foreground_modulates_within_the_bodys_mask_and_the_background_outside() -> None:
    network = Decoder(DecoderSpec(6, 3, 9, "modulated"), ENCODER, DRAWING, IMAGE)
    for parameter in network.modulations.parameters():
        nn.init.ones_(parameter)
    mask = body_mask(somebody(), (32, 16), 3, 3)
    change = network._changes(torch.ones(2, 35), torch.zeros(2, 7), somebody())[0]
    changed = change(torch.zeros(2, 6, 32, 16))  # each vector's shift: its sum and the bias of 1
    assert torch.equal(changed[:, :1], mask * 36 + (1 - mask) * 1)
    plain = Decoder(DecoderSpec(6, 3, 9, "modulated", "plain"), ENCODER, DRAWING, IMAGE)
    for parameter in plain.modulations.parameters():
        nn.init.ones_(parameter)
    everywhere = plain._changes(torch.ones(2, 35), torch.zeros(2, 7), somebody())[0](torch.zeros(2, 6, 32, 16))
    assert torch.equal(everywhere, torch.full_like(everywhere, 36))


def test_the_encoder_crops_masked_features_and_hides_them_from_the_background() -> None:
    torch.manual_seed(0)
    network, images, keypoints = AppearanceEncoder(ENCODER, DRAWING, IMAGE), torch.rand(2, 3, 32, 16), somebody()
    features = network.stem(images)
    mask = body_mask(keypoints, (32, 16), 3, 3)
    boxes, visible = region_boxes(keypoints, (32, 16), 3, 5)
    regions = network.foreground(crop_regions(features * mask, boxes, 8)).view(2, 7, 5) * visible[:, :, None]
    foreground, background = network(images, keypoints)
    assert network.background is not None
    assert torch.allclose(foreground, regions.flatten(1), atol=1e-6)
    assert torch.allclose(background, network.background(features * (1 - mask)), atol=1e-6)


def test_an_encoder_without_mask_and_background_crops_all_features() -> None:
    """As published for DeepFashion."""
    torch.manual_seed(0)
    spec = replace(ENCODER, background=0, masked=False)
    network, images, keypoints = AppearanceEncoder(spec, DRAWING, IMAGE), torch.rand(2, 3, 32, 16), somebody()
    boxes, visible = region_boxes(keypoints, (32, 16), 3, 5)
    regions = network.foreground(crop_regions(network.stem(images), boxes, 8)).view(2, 7, 5) * visible[:, :, None]
    foreground, background = network(images, keypoints)
    assert torch.allclose(foreground, regions.flatten(1), atol=1e-6)
    assert background.shape == (2, 0)
    assert count(network) == encoder(4) + branch(4, 2, 4, 4, 5)
    network = AppearanceEncoder(replace(ENCODER, masked=False), DRAWING, IMAGE)
    assert network.background is not None
    assert torch.allclose(network(images, keypoints)[1], network.background(network.stem(images)), atol=1e-6)


@pytest.mark.parametrize("conditioning", ["tiled", "modulated"])
def test_a_decoder_without_background_uses_the_foreground_everywhere(conditioning: Conditioning) -> None:
    torch.manual_seed(0)
    network = Decoder(DecoderSpec(6, 3, 9, conditioning), replace(ENCODER, background=0), DRAWING, IMAGE)
    assert network(torch.randn(2, 35), torch.zeros(2, 0), somebody()).shape == (2, 3, 32, 16)
    if conditioning == "modulated":
        for parameter in network.modulations.parameters():
            nn.init.ones_(parameter)
        changed = network._changes(torch.ones(2, 35), torch.zeros(2, 0), somebody())[0](torch.zeros(2, 6, 32, 16))
        assert torch.equal(changed, torch.full_like(changed, 36))


def test_the_published_sizes_for_deepfashion_are_the_reference_codes() -> None:
    """Crops of 64, 7 blocks for the regions, 5 in the U-Net, neither mask nor background; batches of 6, 16, and 16 and 32."""
    appearance, pose, mapping = (resolve(f"dpig-deepfashion-{stage}") for stage in ("appearance", "pose", "mapping"))
    assert isinstance(appearance, AppearanceConfig)
    assert isinstance(mapping, MappingConfig)
    sizes = appearance.networks
    with torch.device("meta"):
        encodes = AppearanceEncoder(sizes.encoder, sizes.drawing, sizes.image)
        decodes = Decoder(sizes.decoder, sizes.encoder, sizes.drawing, sizes.image)
    assert count(encodes) == encoder(128) + branch(128, 7, 1, 1, 32)
    assert count(decodes) == decoder(128, 5, 224, 16, 16, 64)
    assert (sizes.encoder.crop, sizes.encoder.masked, sizes.encoder.factors) == (64, False, ("foreground", "pose"))
    assert (appearance.data.batch, pose.data.batch) == (6, 16)
    sampled = {f: mapping.data.batch // mapping.loss.critic_updates // s.thinning for f, s in mapping.critic_specs.items()}
    assert sampled == {"foreground": 16, "pose": 32}


def test_negative_widths_and_thinning_are_refused() -> None:
    with pytest.raises(ValueError, match="background must not be negative, got -1; 0 leaves its branch out"):
        EncoderSpec(background=-1)
    with pytest.raises(ValueError, match="thinning must be at least 1, got 0"):
        MappingSpec(thinning=0)


def test_the_plain_encoder_resizes_all_features_with_their_corners_in_place() -> None:
    torch.manual_seed(0)
    network = AppearanceEncoder(EncoderSpec("plain", 4, 3, 2, 8, 5, 7), DRAWING, IMAGE)
    features = network.stem(images := torch.rand(2, 3, 32, 16))
    resized = F.interpolate(features, (8, 8), mode="bilinear", align_corners=True)
    foreground, background = network(images, somebody())
    assert network.background is not None
    assert torch.allclose(foreground, network.foreground(resized))
    assert torch.allclose(background, network.background(features))
    assert foreground.shape == (2, 35)


@pytest.mark.parametrize("rectified", [True, False])
def test_the_decoder_joins_each_map_of_the_descent_on_the_way_up(rectified: bool) -> None:
    torch.manual_seed(0)
    spec, keypoints = DecoderSpec(6, 3, 9, rectified=rectified), somebody()
    network = Decoder(spec, ENCODER, DRAWING, IMAGE)
    foreground, background = torch.randn(2, 35), torch.randn(2, 7)
    heat = heat_maps(keypoints, (32, 16), 2)
    kept = network.pyramid(F.relu(network.first(torch.cat([foreground, background], 1), heat)))
    x = network.widen(network.squeeze(kept[2].flatten(1))).view(2, 6, 8, 4)
    for i in range(2):
        joined = network.ascent[i](torch.cat([x, kept[2 - i]], 1))
        narrow, wide = network.get_submodule(f"narrowing.{i}.0"), joined.repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert isinstance(narrow, nn.Conv2d)
        x = F.conv2d(wide, narrow.weight, narrow.bias)
        x = F.relu(x) if rectified else x
    expected = network.last(network.ascent[2](torch.cat([x, kept[0]], 1)))
    assert torch.allclose(network(foreground, background, keypoints), expected, atol=1e-6)


def test_a_tiled_convolution_begins_as_one_convolution_of_xavier() -> None:
    torch.manual_seed(0)
    network = Decoder(DecoderSpec(32, 3, 9), ENCODER, DRAWING, IMAGE)
    bound = (6 / (9 * (35 + 7 + KEYPOINTS + 32))) ** 0.5
    for weight in (network.first.vector, network.first.maps.weight):
        assert 0.98 * bound < weight.abs().max().item() <= bound
        assert weight.mean().abs().item() < 0.05 * bound
    assert network.get_parameter("first.maps.bias").abs().sum() == 0
    assert not torch.equal(network.first.vector[:, :KEYPOINTS], network.first.maps.weight)
    assert "inside" not in TiledConvolution(2, 3, 4, (5, 5)).state_dict()


def test_a_discriminator_normalises_all_but_the_first_layer_and_has_no_idle_bias() -> None:
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorSpec((40, 50), 0.1), IMAGE)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size, m.stride, m.padding, m.bias is not None) for m in convolutions] == [
        ((5, 5), (2, 2), (2, 2), True), ((5, 5), (2, 2), (2, 2), False),
    ]  # fmt: skip
    assert [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)] == [50]
    layers: list[nn.Conv2d | nn.Linear] = [*convolutions, network.linear]
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    network.eval()
    real, fake = torch.rand(3, 3, 32, 16), torch.rand(2, 3, 32, 16)
    logits = network(real, fake)
    assert torch.allclose(logits[0], network.logits(real), atol=1e-6)
    assert torch.allclose(logits[1], network.logits(fake), atol=1e-6)
    assert logits[1].shape == (2,)


def test_a_visibility_is_its_sigmoid_rounded() -> None:
    network = PoseAutoencoder(PoseSpec(8, 1, 4))
    decoded = torch.tensor([0.3, -0.2, 0.1, 0.5, 0.6, -0.1] + [0.0, 0.0, -5.0] * 16)
    last = nn.Linear(4, 54)
    network.decoder = nn.Sequential(last)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(decoded)
    pose = network.decode(torch.zeros(1, 4))
    assert pose[0, :6].tolist() == pytest.approx([0.3, -0.2, 1.0, 0.5, 0.6, 0.0])
    pose[0, 2].backward()
    assert isinstance(last.bias.grad, Tensor)
    gradient = last.bias.grad
    probability = torch.sigmoid(torch.tensor(0.1))
    assert gradient[2].item() == pytest.approx((probability * (1 - probability)).item())


def test_networks_of_embeddings_begin_with_xaviers_weights_and_critics_with_hes() -> None:
    specs, widths = {"pose": MappingSpec(60, 1, 50, 2)}, {"pose": 40}
    for network in (PoseAutoencoder(PoseSpec(60, 1, 50)), NoiseMappings(specs, widths), EmbeddingCritics(specs, widths)):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                is_hes = isinstance(network, EmbeddingCritics) and layer.out_features > 1  # but for the score
                bound = (6 / (layer.in_features + (0 if is_hes else layer.out_features))) ** 0.5
                assert 0.9 * bound < layer.weight.abs().max().item() <= bound
                assert (layer.bias == 0).all()


def test_the_pose_encoder_begins_with_an_activation_and_its_decoder_without() -> None:
    torch.manual_seed(0)
    network, vectors = PoseAutoencoder(PoseSpec(8, 1, 4)), torch.randn(3, 54)
    first, activation, pair, last = network.encoder
    assert isinstance(activation, nn.LeakyReLU)
    assert torch.allclose(network.encode(vectors), last(pair(F.leaky_relu(first(vectors), 0.3))), atol=1e-6)
    first, pair, last = network.decoder
    decoded = last(pair(first(embedding := torch.randn(3, 4)))).view(3, 18, 3)
    assert torch.allclose(network.decode(embedding).view(3, 18, 3)[:, :, :2], decoded[:, :, :2], atol=1e-6)


def test_fresh_mappings_do_not_standardise_and_each_factor_has_its_own() -> None:
    mappings = NoiseMappings({"pose": MappingSpec(8, 1), "background": MappingSpec(8, 1)}, {"pose": 3, "background": 5})
    noise = {"pose": torch.randn(2, 3), "background": torch.randn(2, 5)}
    drawn = mappings(noise)
    for factor, mapping in mappings.as_dict().items():
        assert torch.equal(mapping.draw(noise[factor]), drawn[factor])
        assert torch.equal(mapping.standardise(noise[factor]), noise[factor])
    assert mappings.as_dict().keys() == noise.keys()


def test_critics_of_embeddings_score_real_ones_first() -> None:
    torch.manual_seed(0)
    critics = EmbeddingCritics({"pose": MappingSpec(8, 1, 8, 2)}, {"pose": 3})
    real, fake = {"pose": torch.randn(2, 3)}, {"pose": torch.randn(4, 3)}
    of_real, of_fake, _ = critics(real, fake, None)["pose"]
    assert torch.equal(of_fake, critics.scores(fake)["pose"])
    assert torch.equal(of_real, critics.scores(real)["pose"])
