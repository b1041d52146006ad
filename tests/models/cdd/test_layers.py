"""CDD's layers: each one's numbers, and critics' scores against their networks."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.models.cdd.test_translators import BATCH, CRITIC, FEATURE, IMAGE, PARTS, TRANSLATOR, noises, pair, translated
from tests.models.infogan.test_layers import described
from unbraid.models.cdd.critics import Critics, ImageCritic, detached
from unbraid.models.cdd.specs import CriticSpec, FeatureCriticSpec, RepresentationSpec, TranslatorSpec, halvings
from unbraid.models.cdd.translators import Decoder, Encoder, Translation, Translators
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.image_spec import ImageSpec
from unbraid.models.losses import gradient_penalty

EXTRA = TranslatorSpec(channels=4, extra=1, slope=0.3, dropout=0.25)


def test_an_encoders_layers_are_those_of_its_spec() -> None:
    """The first layer has a bias and no norm; then come S by a convolution with a norm, and E by a linear layer."""
    assert described(Encoder(EXTRA, PARTS, IMAGE)) == [
        (3, 4, 4, 2, 1, True), 0.3, (4, 4, 3, 1, 1, False), 4, 0.3, (4, 5, 4, 2, 1, False), 5, (4 * 16 * 16, 3, True),
    ]  # fmt: skip
    assert described(Encoder(replace(EXTRA, extra=0), PARTS, ImageSpec(3, 64, 64))) == [
        (3, 4, 4, 2, 1, True), 0.3, (4, 8, 4, 2, 1, False), 8, 0.3, (8, 5, 4, 2, 1, False), 5, (8 * 16 * 16, 3, True),
    ]  # fmt: skip


def test_a_decoders_layers_are_those_of_its_spec() -> None:
    """Dropout is in the first two layers only; the last one has a bias and no norm."""
    decoder = Decoder(replace(EXTRA, rectified=False, extra=0), 5, 3, ImageSpec(3, 128, 128))
    assert described(decoder) == [
        (8, 16, 4, 2, 1, False), 16, "Dropout", "ReLU", (16, 8, 4, 2, 1, False), 8, "Dropout", "ReLU",
        (8, 4, 4, 2, 1, False), 4, "ReLU", (4, 3, 4, 2, 1, True), "Tanh",
    ]  # fmt: skip
    assert [m.p for m in decoder.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]
    assert described(Decoder(replace(EXTRA, dropout=0.0), 5, 3, IMAGE)) == [
        "ReLU", (8, 4, 4, 2, 1, False), 4, "ReLU", (4, 4, 3, 1, 1, False), 4, "ReLU", (4, 3, 4, 2, 1, True), "Tanh",
    ]  # fmt: skip


def test_widths_double_up_to_eight_times_the_first() -> None:
    assert TranslatorSpec(channels=3).widths(ImageSpec(3, 1024, 1024)) == [3, 6, 12, 24, 24, 24]
    assert [halvings(ImageSpec(3, side, side)) for side in (16, 32, 64, 128, 256)] == [1, 2, 3, 4, 5]


def test_an_image_critics_layers_are_those_of_its_spec() -> None:
    """Both domains' images go in side by side; no norm, as a gradient penalty of one image needs (Gulrajani et al., 2017)."""
    assert described(ImageCritic(CriticSpec((4, 6), 0.3), IMAGE)) == [
        (6, 4, 4, 2, 1, True), 0.3, (4, 6, 4, 2, 1, True), 0.3, "Flatten", (6 * 8 * 8, 1, True),
    ]  # fmt: skip


def test_the_defaults_are_the_reference_codes() -> None:
    assert RepresentationSpec() == RepresentationSpec(512, 8, 0.1)
    assert TranslatorSpec() == TranslatorSpec(64, 0, 0.2, 0.5, True)
    assert CriticSpec() == CriticSpec((64, 128, 256, 512), 0.2)
    assert FeatureCriticSpec() == FeatureCriticSpec(128, 3, 0.2)


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        (RepresentationSpec, {"shared": 0}, "shared must be at least 1, got 0"),
        (RepresentationSpec, {"exclusive": 0}, "exclusive must be at least 1, got 0"),
        (RepresentationSpec, {"noise_std": -0.1}, "noise_std must not be negative"),
        (TranslatorSpec, {"channels": 0}, "channels must be at least 1, got 0"),
        (TranslatorSpec, {"extra": -1}, "extra must not be negative"),
        (TranslatorSpec, {"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        (TranslatorSpec, {"dropout": -0.1}, r"dropout must be in \[0, 1\)"),
        (CriticSpec, {"channels": ()}, "channels must name at least one layer"),
        (CriticSpec, {"channels": (4, 0)}, "channels must name at least one layer"),
        (FeatureCriticSpec, {"hidden": 0}, "hidden and layers must be at least 1, got 0 and 3"),
        (FeatureCriticSpec, {"layers": 0}, "hidden and layers must be at least 1, got 128 and 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(spec: type, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(**fields)


def test_the_smallest_sizes_are_taken() -> None:
    RepresentationSpec(1, 1, 0.0)
    TranslatorSpec(1, 0, dropout=0.0)
    CriticSpec((1,))
    FeatureCriticSpec(1, 1)


@pytest.mark.parametrize("kind", ["translators", "critics"])
def test_layers_begin_with_the_weights_of_pix2pix(kind: str) -> None:
    """Of the translators also the scales of batch norms, N(1, 0.02). E's head has Glorot's, a feature critic torch's own."""
    torch.manual_seed(0)
    sizes = TranslatorSpec(channels=60)
    network: nn.Module = Translators(sizes, RepresentationSpec(60, 40), IMAGE)
    if kind == "critics":
        network = Critics(CriticSpec((40, 50)), FEATURE, PARTS, IMAGE, ("image", "exclusive"))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            is_head = kind == "translators" and isinstance(layer, nn.Linear)
            expected = (2 / sum(layer.weight.shape)) ** 0.5 if is_head else 0.02
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
            assert layer.bias is None or (layer.bias == 0).all()
        elif isinstance(layer, nn.BatchNorm2d):
            assert 0 < layer.weight.std().item() < 0.03


def test_noise_is_added_to_the_decoders_input() -> None:
    torch.manual_seed(0)
    decoder = Decoder(TRANSLATOR, 5, 3, IMAGE).eval()
    shared, exclusive, noise = torch.randn(2, 5, 8, 8), torch.randn(2, 3), torch.randn(2, 8, 8, 8)
    tiled = exclusive[:, :, None, None].expand(-1, -1, 8, 8)
    assert torch.equal(decoder(exclusive, shared, noise), decoder.layers(torch.cat([shared, tiled], 1) + noise))
    alone = Decoder(TRANSLATOR, 0, 3, IMAGE).eval()
    assert torch.equal(alone(exclusive, noise=noise[:, :3]), alone.layers(tiled + noise[:, :3]))


def test_what_no_loss_needs_is_not_computed() -> None:
    without = Translators(TRANSLATOR, PARTS, IMAGE, has_exclusive_decoders=False)
    found: Translation = without(pair(), noises(), 1.0, False, False)
    assert found.fake_parts == found.rebuilt == found.excluded == {}
    assert set(found.fake) == set(DOMAINS)
    assert set(Translators(TRANSLATOR, PARTS, IMAGE).exclusive_decoders) == set(DOMAINS)


def test_other_sizes_are_refused_by_the_translators() -> None:
    with pytest.raises(ValueError, match="images must be squares"):
        Translators(TRANSLATOR, PARTS, ImageSpec(3, 24, 24))


def test_the_reversed_gradient_has_the_scale_that_is_given() -> None:
    torch.manual_seed(0)
    translators, images, drawn = Translators(TRANSLATOR, PARTS, IMAGE).eval(), pair(), noises()
    gradients: list[Tensor] = []
    for scale in (1.0, 0.25):
        translation: Translation = translators(images, drawn, scale, False, False)
        weight = translators.get_parameter("encoders.x.exclusive.weight")
        gradients += torch.autograd.grad(translation.excluded["y"].square().mean(), weight)
    assert gradients[0].abs().max() > 0
    assert torch.allclose(gradients[1], gradients[0] / 4)


def critics_and_translation() -> tuple[Critics, Translation, dict[str, Tensor]]:
    torch.manual_seed(0)
    images = pair()
    return Critics(CRITIC, FEATURE, PARTS, IMAGE), translated(Translators(TRANSLATOR, PARTS, IMAGE), images), images


def test_a_critics_scores_and_penalty_are_its_networks() -> None:
    critics, translation, images = critics_and_translation()
    normal, share = {d: torch.randn(BATCH, PARTS.exclusive) for d in DOMAINS}, torch.rand(BATCH, 1)
    scores = critics(images, translation, normal, share)
    fakes = critics.score(images, translation)
    for d in DOMAINS:
        given, exclusive = images[OTHER[d]], translation.parts[d].exclusive
        image, prior = critics.of_kind["image"], critics.of_kind["prior"]
        assert isinstance(image, nn.ModuleDict)
        assert isinstance(prior, nn.ModuleDict)
        assert torch.allclose(scores[f"image_{d}"].real, image[d](given, images[d]), atol=1e-6)
        assert torch.allclose(scores[f"image_{d}"].fake, image[d](given, translation.fake[d]), atol=1e-6)
        assert torch.allclose(scores[f"prior_{d}"].real, prior[d](normal[d]), atol=1e-6)
        assert torch.allclose(scores[f"prior_{d}"].fake, prior[d](exclusive), atol=1e-6)
        assert torch.allclose(scores[f"exclusive_{d}"].fake, fakes["exclusive"][DOMAINS.index(d)], atol=1e-6)
        assert torch.allclose(scores[f"image_{d}"].fake, fakes["image"][DOMAINS.index(d)], atol=1e-6)
        assert torch.allclose(scores[f"prior_{d}"].fake, fakes["prior"][DOMAINS.index(d)], atol=1e-6)
        penalty = gradient_penalty(prior[d], normal[d], exclusive, share)
        assert torch.allclose(scores[f"prior_{d}"].penalty, penalty)
        penalty = gradient_penalty(partial(image[d], given), images[d], translation.fake[d], share)
        assert torch.allclose(scores[f"image_{d}"].penalty, penalty)


def test_only_the_critics_that_are_asked_for_are_there() -> None:
    critics = Critics(CRITIC, FEATURE, PARTS, IMAGE, ("prior",))
    assert list(critics.of_kind) == ["prior"]
    _, translation, images = critics_and_translation()
    assert set(critics.score(images, translation)) == {"prior"}


def test_a_detached_translation_has_the_same_values() -> None:
    _, translation, _ = critics_and_translation()
    copy = detached(translation)
    for d in DOMAINS:
        assert torch.equal(copy.fake[d], translation.fake[d])
        assert torch.equal(copy.excluded[d], translation.excluded[d])
        assert torch.equal(copy.parts[d].shared, translation.parts[d].shared)
        assert torch.equal(copy.parts[d].exclusive, translation.parts[d].exclusive)
