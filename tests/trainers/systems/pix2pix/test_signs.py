"""What each player of pix2pix maximises, term by term."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.pix2pix.test_system import first_batch, system_of
from tests.trainers.systems.signs import gain
from unbraid.trainers.systems.pix2pix.system import Pix2Pix

pytestmark = pytest.mark.usefixtures("one_thread")
UPDATE = 5
ALONE = {"adversarial": ("loss.l1=0",), "l1": ("loss.adversarial=1e-9",), "both": ()}
"""Weights with which an update of G follows one term, and the paper's."""


def translation(system: Pix2Pix, given: Tensor) -> Tensor:
    """G(x) with the dropout of the update."""
    system.random.seek(UPDATE)
    return system.translate(given)


def test_the_discriminator_tells_real_from_fake_pairs(pairs_url: str, tmp_path: Path) -> None:
    system = system_of(pairs_url, tmp_path)
    given, real = system.training_pairs(first_batch(pairs_url))
    fake = translation(system, given)

    def own() -> Tensor:
        of_real, of_fake = system.discriminator.network(given, real, fake)
        return torch.sigmoid(of_real).log().mean() + (1 - torch.sigmoid(of_fake)).log().mean()

    assert gain(system.discriminator, lambda: system.update_discriminator(given, real, fake), own) > 0


@pytest.mark.parametrize("term", ALONE)
def test_the_generator_fools_the_discriminator_and_comes_near_the_true_images(
    term: str, pairs_url: str, tmp_path: Path
) -> None:
    system = system_of(pairs_url, tmp_path, *ALONE[term])
    given, real = system.training_pairs(first_batch(pairs_url))

    def own() -> Tensor:
        fake = translation(system, given)
        fooled = torch.sigmoid(system.discriminator.network.logits(given, fake)).log().mean()
        near = -(fake - real).abs().mean()
        return {"adversarial": fooled, "l1": near, "both": fooled + 100 * near}[term]

    def step() -> object:
        return system.update_generator(given, real, translation(system, given))

    assert gain(system.generator, step, own) > 0
