"""CDD's step against its equations: every loss with its own weight, every critic on its own share of the pairs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.cdd.test_system import first_batch, system_of
from unbraid.models.cdd.critics import detached
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.losses import wasserstein_distance
from unbraid.trainers.monitor.judge import FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.images import normalised
from unbraid.trainers.systems.cdd.losses import loss_terms
from unbraid.trainers.systems.cdd.system import CDD, Images

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = {"shared": 2.0, "norm": 3.0, "latent": 5.0, "prior": 7.0, "image": 11.0, "exclusive": 13.0, "autoencoder": 17.0}
"""Primes: no two sums of terms are the same by chance."""


def weighted(url: str, storage: Path, *further: str) -> CDD:
    return system_of(url, storage, *(f"loss.{name}={weight}" for name, weight in WEIGHTS.items()), *further)


def captured_loss(player: object, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What a player is updated with, in place of its updates."""
    losses: list[Tensor] = []
    monkeypatch.setattr(player, "update", losses.append)
    return losses


@pytest.mark.parametrize("kind", ["gan", "reconstruction"])
def test_the_translators_minimise_the_weighted_sum_of_the_five_losses(
    kind: str, pairs_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = weighted(pairs_url, tmp_path, f"loss.prior_kind={kind}")
    images = system.training_pairs(first_batch(pairs_url))
    translation = system._translate(system.translators, images)
    losses = captured_loss(system.translators, monkeypatch)
    scalars = system._update_translators(images, translation)
    term = loss_terms(images, translation)
    assert system.critics is not None
    scores = {k: s.mean(1).sum() for k, s in system.critics.network.score(images, translation).items()}
    expected = 2 * term.shared + 3 * term.norm + 5 * (term.latent_shared + term.latent_exclusive) + 17 * term.autoencoder
    expected = expected - 11 * scores["image"] - 13 * scores["exclusive"]
    expected = expected - 7 * scores["prior"] if kind == "gan" else expected + 7 * term.latent_exclusive
    (loss,) = losses
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert {name: value.item() for name, value in scalars.items() if name.startswith("loss/")} == pytest.approx(
        {f"loss/{name}": value.item() for name, value in vars(term).items()}
    )
    for name, shown in ((REAL_DEVIATION, images), (FAKE_DEVIATION, translation.fake)):
        assert scalars[name].item() == pytest.approx(torch.cat([shown["x"], shown["y"]], 1).std(0).mean().item(), rel=1e-5)


def test_the_critics_maximise_their_distances_less_the_weighted_penalties(
    pairs_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = weighted(pairs_url, tmp_path, "loss.penalty=19")
    images = system.training_pairs(first_batch(pairs_url))
    translation = system._translate(system.translators, images)
    assert system.critics is not None
    losses = captured_loss(system.critics, monkeypatch)
    system.random.seek(5)
    scalars = system._update_critics(images, translation)
    system.random.seek(5)
    normal, share = system._normal(16), system.random.uniform(16, 1)
    scores = system.critics.network(images, detached(translation), normal, share)
    distances = {f"wasserstein/{name}": wasserstein_distance(s.real, s.fake) for name, s in scores.items()}
    expected = 19 * torch.stack([s.penalty for s in scores.values()]).sum() - torch.stack(list(distances.values())).sum()
    assert losses[0].item() == pytest.approx(float(expected.detach()), rel=1e-5)
    assert {k: v.item() for k, v in scalars.items()} == pytest.approx({k: v.item() for k, v in distances.items()}, abs=1e-6)


def test_each_update_of_the_critics_sees_its_share_of_the_pairs_and_the_last_is_the_translators_too(
    pairs_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = weighted(pairs_url, tmp_path, "loss.critic_updates=2")
    seen: list[tuple[str, Images]] = []
    critics, translators = system._update_critics, system._update_translators

    def update_critics(images: Images, translation: object) -> dict[str, Tensor]:
        seen.append(("critics", images))
        return critics(images, translation)  # type: ignore[arg-type]

    def update_translators(images: Images, translation: object) -> dict[str, Tensor]:
        seen.append(("translators", images))
        return translators(images, translation)  # type: ignore[arg-type]

    monkeypatch.setattr(system, "_update_critics", update_critics)
    monkeypatch.setattr(system, "_update_translators", update_translators)
    batch = first_batch(pairs_url)
    scalars = system.step(batch)
    assert [who for who, _ in seen] == ["critics", "critics", "translators"]
    for domain in DOMAINS:
        every = normalised(batch[domain])
        for (_, images), rows in zip(seen, (slice(0, None, 2), slice(1, None, 2), slice(1, None, 2)), strict=True):
            assert torch.equal(images[domain], every[rows])
    assert {"wasserstein/image_x", "loss/shared"} <= set(scalars)
    assert system.updates == 1


def test_a_translation_is_of_the_other_domains_shared_part_with_noise_of_the_configured_width(
    pairs_url: str, tmp_path: Path
) -> None:
    system = weighted(pairs_url, tmp_path, "networks.parts.noise_std=0.3")
    noises = system._noises(400)
    for of_kind, channels in ((noises.translation, 10), (noises.reconstruction, 10)):
        for domain in DOMAINS:
            noise = of_kind[domain]
            assert noise is not None
            assert noise.shape == (400, channels, 8, 8)
            assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert {d: z.shape for d, z in noises.exclusive.items()} == dict.fromkeys(DOMAINS, (400, 4))
    assert noises.exclusive["x"].std().item() == pytest.approx(1, rel=0.1)
    assert OTHER == {"x": "y", "y": "x"}


def test_the_reversal_is_the_configured_one(pairs_url: str, tmp_path: Path) -> None:
    """With a reversal of 0 no gradient of the exclusive decoders reaches an encoder."""
    for reversal in (0.0, 1.0):
        system = weighted(pairs_url, tmp_path, f"loss.reversal={reversal}")
        images = system.training_pairs(first_batch(pairs_url))
        translation = system._translate(system.translators, images)
        translation.excluded["x"].sum().backward()
        gradients = dict(system.translators.network.encoders["y"].named_parameters())["exclusive.weight"].grad
        assert (gradients is not None and bool(gradients.abs().sum() > 0)) == (reversal > 0)
