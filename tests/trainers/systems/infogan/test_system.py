"""InfoGAN's update: who learns from what, and that it learns."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unbraid.datasets.stream.stream import SampleStream
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.runs.checkpoint import system_state
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.infogan import system as system_module
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.measures import evaluate
from unbraid.trainers.systems.infogan.pictures import figures, preview
from unbraid.trainers.systems.infogan.system import InfoGAN

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
TINY = [
    "networks.generator.hidden=128", "networks.generator.start_channels=32", "networks.generator.layers=[{channels: 16}]",
    "networks.trunk.layers=[{channels: 16, norm: false}, {channels: 32}]", "networks.trunk.hidden=128",
    "data.batch=64", "data.lanes=8", "data.window=100", "run.precision=float32", "run.cpus=1",
]  # fmt: skip


def infogan(*overrides: str, preset: str = "infogan-mnist") -> InfoGAN:
    config = resolve(preset, [*TINY, "run.workers=1", *overrides])
    assert isinstance(config, Config)
    system = build_system(config, CPU, World())
    assert isinstance(system, InfoGAN)
    return system


def batch(seed: int = 0) -> dict[str, Tensor]:
    return {"image": torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))}


def weights(system: InfoGAN, *names: str) -> Tensor:
    return torch.cat([p.detach().flatten() for name in names for p in system.networks[name].parameters()]).clone()


def assert_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Nested states are equal, every tensor bit for bit."""
    assert before.keys() == after.keys()
    for name, value in before.items():
        if isinstance(value, Mapping):
            assert_same(value, after[name])
        elif isinstance(value, Tensor):
            assert torch.equal(value, after[name]), name
        else:
            assert value == after[name], name


def test_each_player_changes_its_own_weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    system = infogan()
    before = weights(system, "generator")
    system.update_discriminator(system.model.normalise(batch()["image"]))
    assert torch.equal(before, weights(system, "generator"))
    before = weights(system, "discriminator")
    generator = weights(system, "generator")
    system.update_generator(64)
    assert torch.equal(before, weights(system, "discriminator"))
    assert not torch.equal(generator, weights(system, "generator"))


def test_information_reaches_the_generator_only_when_it_is_in_its_loss() -> None:
    def generator_after(*overrides: str) -> Tensor:
        system = infogan(*overrides)
        system.update_generator(64)
        return weights(system, "generator")

    plain = generator_after("loss.info_generator=false")
    assert torch.equal(plain, generator_after("loss.info_categorical=0", "loss.info_continuous=0"))
    assert not torch.equal(plain, generator_after())


def test_one_seed_decides_everything() -> None:
    def losses(seed: int) -> list[dict[str, float]]:
        system = infogan(f"run.seed={seed}")
        return [{k: v.item() for k, v in system.step(batch(i)).items()} for i in range(3)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"set networks\.image to the data set's shape"):
        infogan().step({"image": torch.zeros(64, 1, 32, 32, dtype=torch.uint8)})


def test_pictures_are_the_same_at_every_call_and_disturb_nothing() -> None:
    system = infogan("codes.continuous=1", "codes.categorical=[10, 3]")
    system.step(batch())
    state = copy.deepcopy(system_state(system))
    data = EvaluationData(system.config, CPU, "test")
    first, again = preview(system.model, data), preview(system.model, data)
    assert set(first) == {"samples", "traversal_categorical_0", "traversal_categorical_1", "traversal_continuous_0"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["samples"].dtype == torch.uint8
    assert_same(state, system_state(system))


def training(system: InfoGAN, url: str, updates: int) -> Iterator[dict[str, Tensor]]:
    with SampleStream(url, "train", batch=64, lanes=8, window=100, seed=0) as stream:
        for _ in range(updates):
            yield system.step(next(stream))


def test_codes_become_readable_with_infogan_and_not_with_a_plain_gan(digits_folder: Path) -> None:
    """The paper's figure 1 in small, on real digits; the control is the same network with λ = 0 for G."""
    found = {}
    for informed in (True, False):
        system = infogan(f"loss.info_generator={informed}", "optim.lr_discriminator=1e-3", f"data.url={digits_folder}")
        for _ in training(system, str(digits_folder), 150):
            pass
        found[informed] = evaluate(system.model, EvaluationData(system.config, CPU, "test"))
    assert found[True]["info/categorical_0_nats"] > 1.8
    assert found[False]["info/categorical_0_nats"] < 1.0
    assert found[True]["info/categorical_0_ceiling_nats"] == pytest.approx(2.302585)
    assert found[True]["code/accuracy"] > 0.25


def test_measures_on_unlabelled_images_leave_accuracy_out(digits_folder: Path) -> None:
    system = infogan(f"data.url={digits_folder}", "run.labels=false")
    data = EvaluationData(system.config, CPU, "test")
    scores = evaluate(system.model, data)
    assert "code/accuracy" not in scores
    assert set(figures(system.model, data, scores)) == {"real_and_fake", "sorted_categorical_0"}


def test_both_players_losses_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equation 6 for each: its adversarial loss minus the weighted information, here of known values."""
    known = {"categorical_0": torch.tensor(2.0), "continuous_0": torch.tensor(-1.0)}
    monkeypatch.setattr(system_module, "mutual_information", lambda *arguments: known)
    system = infogan("loss.info_categorical=0.7", "loss.info_continuous=0.3")
    minimised: list[float] = []
    for player in (system.discriminator, system.generator):
        monkeypatch.setattr(player, "update", lambda loss: minimised.append(loss.item()))
    scalars = system.update_discriminator(system.model.normalise(batch()["image"])) | system.update_generator(64)
    weighted = 0.7 * 2.0 - 0.3 * 1.0
    assert minimised == pytest.approx([scalars["loss/d"].item() - weighted, scalars["loss/g"].item() - weighted])


def test_a_step_is_counted_moves_the_averages_and_reports_scalars() -> None:
    system = infogan("optim.ema_every=1")
    before = weights(system, "generator_ema")
    scalars = system.step(batch())
    assert system.updates == 1
    assert not torch.equal(before, weights(system, "generator_ema"))
    assert all(value.shape == () and not value.requires_grad for value in scalars.values())


def test_a_change_of_any_colour_is_made_when_it_is_the_only_one() -> None:
    images = torch.rand(4, 1, 28, 28)
    for name in ("brightness", "contrast"):
        still = ["augment.degrees=0", "augment.scale=0", "augment.shear=0", "augment.shift=0"]
        system = infogan("augment.enabled=true", *still, f"augment.{name}=0.5")
        assert not torch.allclose(system._view(images), images, atol=1e-2)
    assert torch.allclose(infogan("augment.enabled=true", *still)._view(images), images, atol=1e-4)


def test_a_translation_is_a_share_of_the_images_sides() -> None:
    """An eighth of 28 pixels: at most 4 either way."""
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 14, 14] = 1
    still = ["augment.degrees=0", "augment.scale=0", "augment.shear=0", "augment.shift=0"]
    moved = infogan("augment.enabled=true", *still, "augment.translation=0.125")._view(images).round()
    offsets = (moved.nonzero()[:, 2:] - 14).abs()
    assert len(offsets) == 64
    assert offsets.max() == 4
