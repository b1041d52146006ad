"""CDD's networks: their shapes at every size, and one test for each slip of the reference code that is not repeated here."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from unbraid.models.cdd import critics as critics_module
from unbraid.models.cdd.critics import Critics, ImageCritic, detached
from unbraid.models.cdd.specs import CriticSpec, FeatureCriticSpec, RepresentationSpec, TranslatorSpec, Upsampling, halvings
from unbraid.models.cdd.translators import Decoder, Encoder, Noises, Parts, Translation, Translators, reverse_gradient
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.image_spec import ImageSpec
from unbraid.models.losses import gradient_penalty, norm_penalty
from unbraid.trainers.measures.checkerboard import nyquist_energy

PARTS = RepresentationSpec(shared=5, exclusive=3)
TRANSLATOR = TranslatorSpec(channels=4, dropout=0.0)
CRITIC, FEATURE = CriticSpec((4, 6)), FeatureCriticSpec(hidden=8, layers=2)
IMAGE = ImageSpec(3, 32, 32)
BATCH = 4


def pair(side: int = 32) -> dict[str, Tensor]:
    return {d: torch.rand(BATCH, 3, side, side) * 2 - 1 for d in DOMAINS}


def noises() -> Noises:
    exclusive = {d: torch.randn(BATCH, PARTS.exclusive) for d in DOMAINS}
    nothing: dict[str, Tensor | None] = dict.fromkeys(DOMAINS)
    return Noises(exclusive, nothing, nothing)


def translated(translators: Translators, images: dict[str, Tensor], drawn: Noises | None = None) -> Translation:
    translation: Translation = translators(images, drawn or noises(), 1.0, True, True)
    return translation


@pytest.mark.parametrize("side", [16, 32, 64, 128, 256])
def test_the_shared_part_is_eight_by_eight_at_every_size(side: int) -> None:
    image = ImageSpec(3, side, side)
    with torch.device("meta"):
        translators = Translators(TRANSLATOR, PARTS, image)
        images = torch.empty(2, 3, side, side)
        parts = translators.encode("x", images)
        assert parts.shared.shape == (2, 5, 8, 8)
        assert parts.exclusive.shape == (2, 3)
        assert translators.decode("y", parts.shared, parts.exclusive).shape == images.shape


def test_the_published_sizes_are_the_reference_codes() -> None:
    image, parts = ImageSpec(3, 256, 256), RepresentationSpec()
    with torch.device("meta"):
        encoder, decoder = Encoder(TranslatorSpec(), parts, image), Decoder(TranslatorSpec(), 512, 8, image)
    down = [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert down == [64, 128, 256, 512, 512]
    assert (encoder.exclusive.in_features, encoder.exclusive.out_features) == (16 * 16 * 512, 8)
    up = [(m.in_channels, m.out_channels) for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert up == [(520, 512), (512, 256), (256, 128), (128, 64), (64, 3)]
    assert sum(isinstance(m, nn.Dropout) for m in decoder.modules()) == 2
    assert not [m for m in ImageCritic(CriticSpec(), image).modules() if isinstance(m, nn.BatchNorm2d)]


def test_the_last_layers_are_parallel() -> None:
    """E does not pass through S: what changes the one head leaves the other's output alone."""
    encoder = Encoder(TRANSLATOR, PARTS, IMAGE).eval()
    images = torch.rand(2, 3, 32, 32)
    before = encoder(images)
    with torch.no_grad():
        for weight in encoder.shared.parameters():
            weight.add_(1)
    after = encoder(images)
    assert torch.equal(before.exclusive, after.exclusive)
    assert not torch.allclose(before.shared, after.shared)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (24, 24), (48, 48), (32, 64), (100, 100)])
def test_other_sizes_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"image is {height}x{width}; S is 8x8, so that images must be squares"):
        halvings(ImageSpec(3, height, width))


def test_translations_use_the_other_domains_shared_part() -> None:
    torch.manual_seed(0)
    translators, images, drawn = Translators(TRANSLATOR, PARTS, IMAGE).eval(), pair(), noises()
    found = translated(translators, images, drawn)
    for d in DOMAINS:
        other, own = translators.encode(OTHER[d], images[OTHER[d]]), translators.encode(d, images[d])
        assert torch.equal(found.fake[d], translators.decode(d, other.shared, drawn.exclusive[d]))
        assert torch.equal(found.rebuilt[d], translators.decode(d, other.shared, own.exclusive))
        assert torch.equal(found.excluded[d], translators.exclusive_decoders[d](other.exclusive))
        assert torch.equal(found.fake_parts[d].shared, translators.encode(d, found.fake[d]).shared)


def test_encoders_remember_the_statistics_of_real_images_only() -> None:
    """generated images are unlike real ones at first, and evaluation reads real ones; how training normalises is the same."""
    torch.manual_seed(0)
    translators, images = Translators(TRANSLATOR, PARTS, IMAGE), pair()
    alone = copy.deepcopy(translators)
    translated(translators, images)
    for d in DOMAINS:
        alone.encode(d, images[d])
    kept, expected = (dict(t.encoders.named_buffers()) for t in (translators, alone))
    running = [name for name in kept if "running" in name]
    assert running
    assert all(torch.equal(kept[name], expected[name]) for name in running)
    assert all(m.momentum == 0.1 for m in translators.modules() if isinstance(m, nn.BatchNorm2d))


def test_noise_reaches_the_decoders_input_only_where_it_is_given() -> None:
    torch.manual_seed(0)
    translators, images, drawn = Translators(TRANSLATOR, PARTS, IMAGE).eval(), pair(), noises()
    clean = translated(translators, images, drawn)
    noise: dict[str, Tensor | None] = {"x": torch.randn(BATCH, 8, 8, 8), "y": None}
    noisy = translated(translators, images, replace(drawn, translation=noise))
    assert not torch.allclose(noisy.fake["x"], clean.fake["x"])
    assert torch.equal(noisy.fake["y"], clean.fake["y"])
    assert torch.equal(noisy.rebuilt["x"], clean.rebuilt["x"])


def test_exclusive_decoders_learn_and_the_encoder_unlearns() -> None:
    """Of the exclusive decoders' loss, decoders get the gradient, encoders its opposite, times the scale."""
    torch.manual_seed(0)
    translators, images = Translators(TRANSLATOR, PARTS, IMAGE).eval(), pair()
    exclusive = translators.encode("x", images["x"]).exclusive
    gradients = {}
    for name, e in (("plain", exclusive), ("reversed", reverse_gradient(exclusive, 0.5))):
        loss = translators.exclusive_decoders["y"](e).square().mean()
        weights = dict(translators.named_parameters())
        learnt = [weights["encoders.x.exclusive.weight"], next(translators.exclusive_decoders["y"].parameters())]
        gradients[name] = torch.autograd.grad(loss, learnt, retain_graph=True)
    assert torch.equal(exclusive, reverse_gradient(exclusive, 0.5))
    assert gradients["plain"][0].abs().max() > 0
    assert torch.allclose(gradients["reversed"][0], -0.5 * gradients["plain"][0])
    assert torch.equal(gradients["reversed"][1], gradients["plain"][1])


# --- slips of the reference code ------------------------------------------------------------------------------------------


def test_slip_a_critic_gives_one_score_an_image_from_the_whole_map() -> None:
    """There, pieces of the flattened last map were scored by themselves: 32 scores an image, each from half a row."""
    torch.manual_seed(0)
    critic = ImageCritic(CRITIC, IMAGE)
    images = torch.rand(BATCH, 3, 32, 32, requires_grad=True)
    scores = critic(torch.rand(BATCH, 3, 32, 32), images)
    assert scores.shape == (BATCH,)
    (slope,) = torch.autograd.grad(scores[0], images)
    assert (slope[0] != 0).all(), "some pixels are not looked at"
    assert (slope[1:] == 0).all(), "other images are looked at"


def test_slip_every_critic_compares_images_of_its_own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the penalty of the exclusive critic Y → X interpolated with the wrong domain's target."""
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(critic: object, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        seen.append((real, fake))
        return torch.zeros(())

    monkeypatch.setattr(critics_module, "gradient_penalty", spy)
    critics = Critics(CRITIC, FEATURE, PARTS, IMAGE)
    images = pair()
    translation = detached(translated(Translators(TRANSLATOR, PARTS, IMAGE), images))
    normal = {d: torch.randn(BATCH, PARTS.exclusive) for d in DOMAINS}
    names = list(critics(images, translation, normal, torch.rand(BATCH, 1)))
    expected = {f"image_{d}": (images[d], translation.fake[d]) for d in DOMAINS}
    expected |= {f"exclusive_{d}": (images[d], translation.excluded[d]) for d in DOMAINS}
    expected |= {f"prior_{d}": (normal[d], translation.parts[d].exclusive) for d in DOMAINS}
    assert set(names) == set(expected)
    for name, (real, fake) in zip(names, seen, strict=True):
        assert torch.equal(real, expected[name][0]), name
        assert torch.equal(fake, expected[name][1]), name


def test_critics_are_given_the_image_that_was_translated() -> None:
    torch.manual_seed(0)
    critics, images = Critics(CRITIC, FEATURE, PARTS, IMAGE), pair()
    translation = translated(Translators(TRANSLATOR, PARTS, IMAGE), images)
    scores = critics.score(images, translation)
    changed = critics.score(images | {"x": -images["x"]}, translation)
    for kind in ("image", "exclusive"):
        assert not torch.allclose(scores[kind][DOMAINS.index("y")], changed[kind][DOMAINS.index("y")])  # gets x
        assert torch.equal(scores[kind][DOMAINS.index("x")], changed[kind][DOMAINS.index("x")])


@pytest.mark.parametrize("shape", [(5,), (3, 16, 16), (3, 64, 64)])
def test_slip_the_penalty_is_that_of_any_size(shape: tuple[int, ...]) -> None:
    """There, 256 was written into the penalty. A linear critic's slope is known everywhere."""
    torch.manual_seed(0)
    weight = torch.randn(shape)
    penalty = gradient_penalty(
        lambda x: (x * weight).flatten(1).sum(1), torch.rand(6, *shape), torch.rand(6, *shape), torch.rand(6, 1)
    )
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-4)


def test_the_penalty_looks_between_real_and_fake() -> None:
    """f(x) = Σx²/2 has the slope x: at a share s from made (0) to real (2·1) that is 2s."""
    real, fake, share = torch.full((3, 1, 2, 2), 2.0), torch.zeros(3, 1, 2, 2), torch.tensor([[0.0], [0.5], [1.0]])
    penalty = gradient_penalty(lambda x: x.square().flatten(1).sum(1) / 2, real, fake, share)
    norms = 2 * 2 * share
    assert penalty.item() == pytest.approx((norms - 1).square().mean().item())


def test_norm_penalty_wants_a_root_mean_square_of_one() -> None:
    assert norm_penalty(torch.full((2, 3, 8, 8), -1.0)).item() == pytest.approx(0)
    assert norm_penalty(torch.full((2, 3, 8, 8), 0.25)).item() == pytest.approx(0.75**2)
    zeros = torch.zeros(2, 3, requires_grad=True)
    norm_penalty(zeros).backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_detached_translations_teach_translators_nothing() -> None:
    translation = detached(translated(Translators(TRANSLATOR, PARTS, IMAGE), pair()))
    tensors = [*translation.fake.values(), *translation.excluded.values()]
    tensors += [t for p in translation.parts.values() for t in (p.shared, p.exclusive)]
    assert not any(t.requires_grad for t in tensors)


def test_parts_can_be_cut_and_joined() -> None:
    parts = Parts(torch.arange(12.0).view(3, 1, 2, 2), torch.arange(3.0)[:, None])
    again = Parts.joined([parts[:1], parts[torch.tensor([1, 2])]])
    assert len(again) == 3
    assert torch.equal(again.shared, parts.shared)
    assert torch.equal(again.exclusive, parts.exclusive)


@pytest.mark.parametrize("side", [32, 128])
def test_the_exclusive_head_begins_as_wide_as_its_prior_at_any_size(side: int) -> None:
    """Glorot's weights; N(0, 0.02) over as many numbers as a large image has begins several times wider."""
    torch.manual_seed(0)
    encoder = Translators(TRANSLATOR, PARTS, ImageSpec(3, side, side)).encoders["x"]
    assert isinstance(encoder, Encoder)
    linear = encoder.exclusive
    assert linear.weight.std().item() == pytest.approx((2 / (linear.in_features + linear.out_features)) ** 0.5, rel=0.1)
    assert not linear.bias.any()
    with torch.no_grad():
        spread = linear(torch.randn(500, linear.in_features)).std().item()
    assert spread == pytest.approx(2**0.5, rel=0.15)


def test_a_standardised_exclusive_part_has_the_deviation_of_its_prior() -> None:
    torch.manual_seed(0)
    parts = RepresentationSpec(shared=5, exclusive=3, standardised=True)
    encoder = Translators(TRANSLATOR, parts, IMAGE).encoders["x"]
    images = torch.rand(64, 3, 32, 32) * torch.rand(64, 3, 1, 1)
    found = encoder(images).exclusive
    assert torch.allclose(found.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.std(0, unbiased=False), torch.ones(3), atol=0.05)
    assert not {name for name, _ in encoder.named_parameters() if "standardisation" in name}


def test_resized_maps_leave_no_checkerboard_of_a_constant() -> None:
    torch.manual_seed(0)
    energies = {}
    upsampling: Upsampling
    for upsampling in ("transposed", "resized"):
        spec = TranslatorSpec(channels=4, dropout=0.0, upsampling=upsampling)
        decoder = Translators(spec, PARTS, IMAGE).exclusive_decoders["x"].eval()
        with torch.no_grad():
            drawn = decoder(5 * torch.randn(8, PARTS.exclusive))
        assert drawn.shape == (8, 3, 32, 32)
        energies[upsampling] = nyquist_energy(drawn)[:, :, 12:-12, 12:-12].mean().item()
    assert energies["resized"] < 1e-12
    assert energies["transposed"] > 1e-9
