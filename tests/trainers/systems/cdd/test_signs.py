"""What each player of CDD maximises, term by term; and that encoders get the exclusive decoders' gradient reversed."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.cdd.test_system import first_batch, system_of
from tests.trainers.systems.signs import gain
from unbraid.models.cdd.critics import detached
from unbraid.models.cdd.translators import Translation
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.losses import wasserstein_distance
from unbraid.trainers.systems.cdd.system import CDD, Images

pytestmark = pytest.mark.usefixtures("one_thread")
UPDATE = 5
WEIGHTS = ("shared", "norm", "latent", "prior", "image", "exclusive", "autoencoder")
FAINT = 1e-9
"""Keeps a configuration valid that leaves everything else to one term."""


def only(url: str, storage: Path, *terms: str, further: tuple[str, ...] = ()) -> CDD:
    """A CDD of which all losses but some are as good as left out."""
    weights = [f"loss.{name}={1.0 if name in terms else FAINT if name == 'autoencoder' else 0}" for name in WEIGHTS]
    torch.manual_seed(0)
    system = system_of(url, storage, *weights, "loss.penalty=0", *further)
    system.random.seek(UPDATE)
    return system


def translation_of(system: CDD, images: Images) -> Translation:
    """The translators' work on the noise of the update."""
    system.random.seek(UPDATE)
    return system._translate(system.translators, images)


def adversarial(kind: str, system: CDD, images: Images) -> Tensor:
    """E[f(x̃)] of the critics of a kind, the sum over domains: what the translators maximise."""
    assert system.critics is not None
    scores: Tensor = system.critics.network.score(images, translation_of(system, images))[kind]
    return scores.mean(1).sum()


@pytest.mark.parametrize("kind", ["image", "prior", "exclusive"])
def test_translators_maximise_the_critics_scores(kind: str, pairs_url: str, tmp_path: Path) -> None:
    """Of exclusive images their decoders alone: with a reversal of 0 encoders do not learn from them."""
    system = only(pairs_url, tmp_path, kind, further=("loss.reversal=0",))
    images = system.training_pairs(first_batch(pairs_url))

    def step() -> object:
        return system._update_translators(images, translation_of(system, images))

    assert gain(system.translators, step, lambda: adversarial(kind, system, images)) > 0


def term_of(name: str, system: CDD, images: Images) -> Tensor:
    """Minus a term of the translators' loss, written out."""
    translation = translation_of(system, images)
    parts, again = translation.parts, translation.fake_parts
    if name == "shared":
        return -(parts["x"].shared - parts["y"].shared).abs().mean()
    if name == "autoencoder":
        return -sum(((translation.rebuilt[d] - images[d]).abs().mean() for d in DOMAINS), torch.zeros(()))
    of_shared = [(again[d].shared - parts[OTHER[d]].shared).abs().mean() for d in DOMAINS]
    of_exclusive = [(again[d].exclusive - translation.drawn[d]).abs().mean() for d in DOMAINS]
    return -torch.stack(of_shared + of_exclusive).sum()


@pytest.mark.parametrize("name", ["shared", "autoencoder", "latent"])
def test_translators_minimise_each_distance(name: str, pairs_url: str, tmp_path: Path) -> None:
    system = only(pairs_url, tmp_path, name)
    images = system.training_pairs(first_batch(pairs_url))

    def step() -> object:
        return system._update_translators(images, translation_of(system, images))

    assert gain(system.translators, step, lambda: term_of(name, system, images)) > 0


@pytest.mark.parametrize("kind", ["image", "prior", "exclusive"])
def test_critics_maximise_their_distances(kind: str, pairs_url: str, tmp_path: Path) -> None:
    system = only(pairs_url, tmp_path, kind)
    images = system.training_pairs(first_batch(pairs_url))
    translation = detached(translation_of(system, images))

    def drawn() -> dict[str, Tensor]:
        system.random.seek(UPDATE)
        return system._normal(len(images["x"]))

    @torch.enable_grad()  # for the penalty, which is not looked at
    def distance() -> Tensor:
        assert system.critics is not None
        scores = system.critics.network(images, translation, drawn(), torch.full((len(images["x"]), 1), 0.5))
        return torch.stack([wasserstein_distance(s.real, s.fake) for s in scores.values()]).sum()

    def step() -> object:
        system.random.seek(UPDATE)
        return system._update_critics(images, translation)

    assert system.critics is not None
    assert gain(system.critics, step, distance) > 0


def test_encoders_get_the_gradient_of_exclusive_images_reversed_and_scaled(pairs_url: str, tmp_path: Path) -> None:
    """Through the forward pass of training, so that a pass without the reversal is seen too."""
    gradients = {}
    for reversal in (1.0, 0.0, -1.0, 0.5):
        system = only(pairs_url, tmp_path, "exclusive")
        images = system.training_pairs(first_batch(pairs_url))
        system.random.seek(UPDATE)
        noises = system._noises(len(images["x"]))
        translation = system.translators.network(images, noises, reversal, False, False)
        torch.stack([translation.excluded[d].square().mean() for d in DOMAINS]).sum().backward()
        encoders = system.translators.network.encoders
        found = [p.grad for p in encoders.parameters() if p.grad is not None]
        gradients[reversal] = torch.cat([gradient.flatten() for gradient in found])
        decoders = [p.grad for p in system.translators.network.exclusive_decoders.parameters()]
        assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in decoders)
    plain = gradients[-1.0]  # reversed twice: the gradient itself
    assert plain.abs().max() > 0
    assert torch.allclose(gradients[1.0], -plain)
    assert torch.allclose(gradients[0.5], -0.5 * plain)
    assert not gradients[0.0].any()
