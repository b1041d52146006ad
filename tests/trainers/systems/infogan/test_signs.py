"""What each player of InfoGAN maximises, term by term."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.trainers.systems.infogan.test_system import batch, infogan
from tests.trainers.systems.signs import gain
from unbraid.models.infogan.codes import CodeSample, latent_vector, sample_codes, split_head
from unbraid.trainers.systems.infogan.system import InfoGAN

pytestmark = pytest.mark.usefixtures("one_thread")
UPDATE, IMAGES = 5, 64
ALONE = {
    "adversarial": ("loss.info_categorical=0", "loss.info_continuous=0"),
    "categorical": ("loss.info_categorical=1e4", "loss.info_continuous=0"),
    "continuous": ("loss.info_categorical=0", "loss.info_continuous=1e4"),
    "all": (),
}
"""Weights with which an update follows one term, and those of the reference code."""


def played(term: str) -> InfoGAN:
    system = infogan(*ALONE[term], preset="infogan-mnist-reference")
    system.random.seek(UPDATE)
    return system


def drawn(system: InfoGAN) -> tuple[CodeSample, Tensor]:
    """The codes of the update, and G's images of them."""
    system.random.seek(UPDATE)
    codes = sample_codes(system.codes, system.random, IMAGES)
    return codes, system.generator.network(latent_vector(system.codes, codes))


def information(system: InfoGAN, head: Tensor, codes: CodeSample) -> dict[str, Tensor]:
    """E[log Q(c | x)] without its constants."""
    posterior = split_head(system.codes, head)
    right = F.log_softmax(posterior.logits[0], 1).gather(1, codes.categorical)
    return {"categorical": right.mean(), "continuous": -(posterior.mean - codes.continuous).square().sum(1).mean() / 2}


def objective(terms: dict[str, Tensor], term: str) -> Tensor:
    return torch.stack(list(terms.values())).sum() if term == "all" else terms[term]


@pytest.mark.parametrize("term", ALONE)
def test_the_discriminator_tells_real_from_generated_images_and_reads_their_codes(term: str) -> None:
    system = played(term)
    real = system.model.normalise(batch()["image"])

    def own() -> Tensor:
        codes, fake = drawn(system)
        of_real, of_fake, head = system.discriminator.network(real, fake)
        adversarial = torch.sigmoid(of_real).log().mean() + (1 - torch.sigmoid(of_fake)).log().mean()
        return objective({"adversarial": adversarial, **information(system, head, codes)}, term)

    assert gain(system.discriminator, lambda: system.update_discriminator(real), own) > 0


@pytest.mark.parametrize("half", ["real", "generated"])
def test_the_discriminators_verdict_improves_on_each_kind_of_images(half: str) -> None:
    """On images as different as these one half does not improve at the price of the other."""
    system = played("adversarial")
    real = system.model.normalise(batch()["image"])

    def own() -> Tensor:
        of_real, of_fake, _ = system.discriminator.network(real, drawn(system)[1])
        return torch.sigmoid(of_real).mean() if half == "real" else -torch.sigmoid(of_fake).mean()

    assert gain(system.discriminator, lambda: system.update_discriminator(real), own) > 0


@pytest.mark.parametrize("term", ALONE)
def test_the_generator_passes_for_real_and_shows_its_codes(term: str) -> None:
    system = played(term)

    def own() -> Tensor:
        codes, fake = drawn(system)
        logits, head = system.discriminator.network.forward_fake(fake)
        adversarial = torch.sigmoid(logits).log().mean()
        return objective({"adversarial": adversarial, **information(system, head, codes)}, term)

    assert gain(system.generator, lambda: system.update_generator(IMAGES), own) > 0
