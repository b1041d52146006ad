"""Pix2pix: who learns from what, that it learns, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.trainers.systems.pairs import pix2pix_config
from unbraid.datasets.stream.stream import SampleStream
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.monitor.judge import FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import normalised
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.pix2pix.config import Config
from unbraid.trainers.systems.pix2pix.system import Pix2Pix

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def system_of(url: str, storage: Path, *further: str) -> Pix2Pix:
    system = build_system(pix2pix_config(url, storage, *further), CPU, World())
    assert isinstance(system, Pix2Pix)
    return system


def first_batch(url: str, batch: int = 16) -> dict[str, Tensor]:
    with SampleStream(url, "train", batch=batch, lanes=2, window=40, seed=0) as stream:
        return dict(next(stream))


def weights(system: Pix2Pix, name: str) -> Tensor:
    return torch.cat([p.detach().flatten() for p in system.networks[name].parameters()]).clone()


def test_each_player_changes_its_own_weights_only(pairs_url: str, tmp_path: Path) -> None:
    system = system_of(pairs_url, tmp_path)
    given, real = system.training_pairs(first_batch(pairs_url))
    fake = system.translate(given)
    generator, discriminator = weights(system, "generator"), weights(system, "discriminator")
    system.update_discriminator(given, real, fake)
    assert torch.equal(generator, weights(system, "generator"))
    assert not torch.equal(discriminator, weights(system, "discriminator"))
    discriminator = weights(system, "discriminator")
    system.update_generator(given, real, fake)
    assert torch.equal(discriminator, weights(system, "discriminator"))
    assert not torch.equal(generator, weights(system, "generator"))


def test_losses_are_the_papers_with_the_configured_weights(
    pairs_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = system_of(pairs_url, tmp_path, "loss.adversarial=3", "loss.l1=7", "loss.discriminator=5")
    given, real = system.training_pairs(first_batch(pairs_url))
    fake = system.translate(given)
    losses: list[Tensor] = []
    for player in system.players:
        monkeypatch.setattr(player, "update", losses.append)
    scalars = system.update_discriminator(given, real, fake) | system.update_generator(given, real, fake)
    of_real, of_fake = system.discriminator.network(given, real, fake)
    entropy = F.binary_cross_entropy_with_logits
    judged = entropy(of_real, torch.ones_like(of_real)) + entropy(of_fake, torch.zeros_like(of_fake))
    fooled, distance = entropy(of_fake, torch.ones_like(of_fake)), (fake - real).abs().mean()
    assert [loss.item() for loss in losses] == pytest.approx([5 * judged.item(), (3 * fooled + 7 * distance).item()], rel=1e-4)
    expected = {
        "loss/d": judged, "loss/g": fooled, "loss/l1": distance, "logit/real": of_real.mean(), "logit/fake": of_fake.mean(),
        REAL_DEVIATION: real.std(0).mean(), FAKE_DEVIATION: fake.std(0).mean(),
    }  # fmt: skip
    wanted = {name: value.item() for name, value in expected.items()}
    assert {name: value.item() for name, value in scalars.items()} == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_the_defaults_are_the_papers() -> None:
    """L1 weighs 100 times as much, D's loss is halved, both players learn at 2e-4 by Adam with β₁ 0.5."""
    loss, optim = Config().loss, Config().optim
    assert (loss.adversarial, loss.l1, loss.discriminator) == (1, 100, 0.5)
    assert (optim.lr_generator, optim.lr_discriminator, optim.betas[0]) == (2e-4, 2e-4, 0.5)


def test_a_run_translates_in_its_direction(pairs_url: str, tmp_path: Path) -> None:
    batch = first_batch(pairs_url)
    for direction in ("x_to_y", "y_to_x"):
        system = system_of(pairs_url, tmp_path, f"direction={direction}")
        given, real = system.training_pairs(batch)
        assert torch.equal(given, normalised(batch[direction[0]]))
        assert torch.equal(real, normalised(batch[direction[-1]]))
        assert (system.model.source, system.model.target) == (direction[0], direction[-1])
    assert resolve("pix2pix-mnist-cdcb-small-backwards").model_dump()["direction"] == "y_to_x"


def test_a_pair_is_moved_together(pairs_url: str, tmp_path: Path) -> None:
    batch = first_batch(pairs_url)
    plain, _ = system_of(pairs_url, tmp_path).training_pairs(batch)
    for direction in ("x_to_y", "y_to_x"):
        system = system_of(pairs_url, tmp_path, f"direction={direction}", "data.augment.flip=true")
        given, real = system.training_pairs(batch | {"y": batch["x"]})
        assert torch.equal(given, real)
        assert not torch.equal(given, plain)


def test_one_seed_decides_everything_dropout_included(pairs_url: str, tmp_path: Path) -> None:
    """And what others draw from torch's own generator changes nothing."""

    def losses(seed: int, disturbance: int) -> list[dict[str, float]]:
        system = system_of(pairs_url, tmp_path, f"run.seed={seed}")
        torch.manual_seed(disturbance)
        batch = first_batch(pairs_url)
        return [{name: value.item() for name, value in system.step(batch).items()} for _ in range(3)]

    assert losses(0, 1) == losses(0, 2)
    assert losses(0, 1) != losses(1, 1)


def test_it_learns_to_come_nearer_than_a_copy_of_the_input(pairs_url: str, tmp_path: Path) -> None:
    system = system_of(pairs_url, tmp_path, "direction=y_to_x", "optim.lr_generator=0.002", "run.updates=80")
    batch = first_batch(pairs_url)
    given, real = system.training_pairs(batch)
    scalars = [system.step(batch) for _ in range(80)]
    first, last = (scalars[i]["loss/l1"].item() for i in (0, -1))
    assert last < 0.25 * first
    assert last < 0.25 * (given - real).abs().mean().item()
    assert scalars[-1]["loss/d"].item() < 2 * 0.693, "D knows more than a coin"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["direction=x_to_x"], r"direction: expected 'x_to_y' or 'y_to_x'"),
        (["networks.image={channels: 3, height: 36, width: 36}"], "image is 36x36; the U-Net halves it 3 times at least"),
        (["networks.generator.channels=0"], "channels must be at least 1, got 0"),
        (["networks.generator.dropout=1"], "dropout must be in"),
        (["networks.generator.dropped=-1"], "dropped must not be negative, got -1"),
        (["networks.discriminator.channels=[8]"], "channels must name at least two layers"),
        (["networks.discriminator.channels=[8, 8, 8, 8, 8]"], "leaves a map of 2x2 of an image of 32x32, too small"),
        (["networks.discriminator.channels=[8, 8, 8, 8, 8, 8, 8]"], "a discriminator changes the image by a factor of 64"),
        (["data.augment.brightness=0.1"], "colours of X and Y would change by themselves"),
        (["loss.adversarial=0"], "expected more than 0"),
        (["loss.l1=-1"], "expected 0 or more"),
    ],
)
def test_configurations_that_cannot_run_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve("pix2pix-mnist-cdcb-small", overrides)


def test_a_set_without_pairs_is_refused(digits_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"have no x and no y \(only image, label\), which pix2pix needs"):
        preflight(pix2pix_config(str(digits_folder), tmp_path), "test")
