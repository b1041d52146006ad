"""The steps of DPIG's stages against their equations."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.dpig.test_system import SIZE, first_batch
from tests.trainers.systems.people import stage_config
from unbraid.models.dpig.pose import pose_vectors
from unbraid.models.losses import discriminator_loss, generator_loss, pose_loss, wasserstein_distance
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import normalised
from unbraid.trainers.system import Scalars, build_system
from unbraid.trainers.systems.dpig.appearance.system import Appearance
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.mapping.embedding import Embeddings
from unbraid.trainers.systems.dpig.mapping.system import MappingSystem
from unbraid.trainers.systems.dpig.pose.system import PoseSystem

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def captured(player: object, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What a player is updated with, in place of its updates."""
    losses: list[Tensor] = []
    monkeypatch.setattr(player, "update", losses.append)
    return losses


def appearance(url: str, storage: Path, *further: str) -> Appearance:
    system = build_system(stage_config("appearance", url, storage, *further), CPU, World())
    assert isinstance(system, Appearance)
    return system


def mapping(url: str, storage: Path, *further: str) -> MappingSystem:
    system = build_system(stage_config("mapping", url, storage, *further), CPU, World())
    assert isinstance(system, MappingSystem)
    return system


@pytest.mark.parametrize("adversarial", [3.0, 0.0])
def test_stage_one_minimises_weighted_l1_and_adversarial_loss(
    adversarial: float, people_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = appearance(people_url, tmp_path, "loss.reconstruction=7", f"loss.adversarial={adversarial}")
    images, keypoints = normalised(first_batch(people_url, 4)["image"]), first_batch(people_url, 4)["keypoints"]
    rebuilt = system.generator(images, keypoints)
    losses = captured(system.generator, monkeypatch)
    scalars = system.update_generator(images, rebuilt)
    l1 = (rebuilt - images).abs().mean()
    expected = 7 * l1
    if adversarial:
        cross_entropy = generator_loss(system.discriminator.network(images, rebuilt)[1])
        expected = expected + adversarial * cross_entropy
        assert scalars["loss/g"].item() == pytest.approx(cross_entropy.item(), rel=1e-5)
    assert losses[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert scalars["loss/l1"].item() == pytest.approx(l1.item(), rel=1e-5)
    assert ("loss/g" in scalars) == (adversarial > 0)


def test_a_player_leaves_no_gradient_in_the_other(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    """A gradient that stays would reach the other's next step, or, on several workers, an all-reduce that nobody waits for."""
    one, two = appearance(people_url, tmp_path), mapping(people_url, trained_dpig)
    images, keypoints = normalised(first_batch(people_url, 4)["image"]), first_batch(people_url, 4)["keypoints"]
    one.update_generator(images, one.generator(images, keypoints))
    two._update_mappings(6)
    for player in (one.discriminator, two.critics):
        assert all(parameter.grad is None for parameter in player.network.parameters())


def test_a_checkpoint_holds_what_is_trained_its_averages_and_what_it_started_from(
    trained_dpig: Path, people_url: str, tmp_path: Path
) -> None:
    assert set(appearance(people_url, tmp_path).networks) == {"generator", "generator_ema", "discriminator"}
    stages = {"generator", "pose_autoencoder"}
    assert set(mapping(people_url, trained_dpig).networks) == {"mappings", "mappings_ema", "critics"} | stages


def test_the_discriminator_of_stage_one_minimises_half_its_cross_entropy(
    people_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = appearance(people_url, tmp_path)
    images, fake = torch.rand(4, 3, *SIZE), torch.rand(4, 3, *SIZE)
    losses = captured(system.discriminator, monkeypatch)
    scalars = system.update_discriminator(images, fake)
    of_real, of_fake = system.discriminator.network(images, fake)
    expected = discriminator_loss(of_real, of_fake).item() / 2
    assert losses[0].item() == pytest.approx(expected, rel=1e-5)
    assert scalars[DISCRIMINATOR_LOSS].item() == pytest.approx(expected, rel=1e-5)
    assert scalars["logit/real"].item() == pytest.approx(of_real.mean().item(), abs=1e-6)
    assert scalars["logit/fake"].item() == pytest.approx(of_fake.mean().item(), abs=1e-6)


def test_a_step_of_stage_one_is_of_the_batch_and_counts(people_url: str, tmp_path: Path) -> None:
    unchanged = ("data.augment.flip=false", "data.augment.brightness=0", "data.augment.contrast=0", "data.augment.saturation=0")
    system = appearance(people_url, tmp_path, *unchanged)
    batch = first_batch(people_url)
    scalars = system.step(batch)
    assert scalars[REAL_DEVIATION].item() == pytest.approx(normalised(batch["image"]).std(0).mean().item(), rel=1e-4)
    assert 0 < scalars[FAKE_DEVIATION].item() < 2
    assert system.updates == 1


@pytest.mark.parametrize("missing", ["counted", "left_out"])
def test_the_pose_branch_minimises_its_weighted_squared_error(
    missing: str, people_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stage_config("pose", people_url, tmp_path, "loss.reconstruction=7", f"loss.missing={missing}")
    system = build_system(config, CPU, World())
    assert isinstance(system, PoseSystem)
    losses = captured(system.autoencoder, monkeypatch)
    batch = first_batch(people_url)
    scalars = system.step(batch)
    system.random.seek(0)
    _, keypoints = training_batch(batch, system.config.data.augment, system.random)
    vectors = pose_vectors(keypoints, SIZE)
    expected = pose_loss(system.autoencoder.network(vectors), vectors, counts_missing=missing == "counted").item()
    assert losses[0].item() == pytest.approx(7 * expected, rel=1e-5)
    assert scalars["loss/pose"].item() == pytest.approx(expected, rel=1e-5)
    assert system.updates == 1


@pytest.mark.parametrize("statistics", ["joint", "each"])
def test_rebuilt_images_are_judged_with_real_ones_where_statistics_are_joint(
    statistics: str, people_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both players' updates: the generator's logits are the discriminator's."""
    system = appearance(people_url, tmp_path, f"networks.discriminator.statistics={statistics}", "loss.reconstruction=1e-9")
    images, keypoints = normalised(first_batch(people_url, 4)["image"]), first_batch(people_url, 4)["keypoints"]
    rebuilt = system.generator(images, keypoints)
    network = system.discriminator.network
    alone, together = network.logits(rebuilt), network.logits(torch.cat([images, rebuilt]))[4:]
    expected = together if statistics == "joint" else alone
    assert not torch.allclose(alone, together, atol=1e-4)
    assert torch.allclose(network(images, rebuilt)[1], expected, atol=1e-5)
    losses = captured(system.generator, monkeypatch)
    system.update_generator(images, rebuilt)
    assert losses[0].item() == pytest.approx(0.1 * generator_loss(expected).item(), rel=1e-3)


@pytest.mark.parametrize("smoothness", ["clipping", "penalty"])
def test_the_critics_of_stage_two_maximise_their_distances(
    smoothness: str, trained_dpig: Path, people_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = mapping(people_url, trained_dpig, f"loss.smoothness={smoothness}", "loss.penalty=19", "loss.clip=9")
    real = {factor: torch.rand(6, width) for factor, width in system.widths.items()}
    losses = captured(system.critics, monkeypatch)
    system.random.seek(3)
    scalars = system._update_critics(real)
    system.random.seek(3)
    fake = system.mappings.network(system._noise(6))
    share = system.random.uniform(6, 1) if smoothness == "penalty" else None
    results = system.critics.network(real, fake, share)
    distances = {f"wasserstein/{factor}": wasserstein_distance(r, f) for factor, (r, f, _) in results.items()}
    expected = -sum(distances.values()) + (19 * sum(p for _, _, p in results.values()) if smoothness == "penalty" else 0)
    assert losses[0].item() == pytest.approx(float(expected), rel=1e-4)
    assert {k: v.item() for k, v in scalars.items()} == pytest.approx({k: v.item() for k, v in distances.items()}, abs=1e-6)


def test_the_mappings_maximise_the_critics_scores(trained_dpig: Path, people_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = mapping(people_url, trained_dpig, "noise_std=0.5")
    losses = captured(system.mappings, monkeypatch)
    system.random.seek(3)
    scalars = system._update_mappings(6)
    system.random.seek(3)
    fake = system.mappings.network({f: 0.5 * system.random.normal(6, width) for f, width in system.widths.items()})
    scores = {factor: s.mean().item() for factor, s in system.critics.network.scores(fake).items()}
    assert losses[0].item() == pytest.approx(-sum(scores.values()), rel=1e-4)
    assert {f: -scalars[f"loss/{f}"].item() for f in scores} == pytest.approx(scores, rel=1e-4)
    assert scalars[FAKE_DEVIATION].item() == pytest.approx(torch.cat(list(fake.values()), 1).std(0).mean().item(), rel=1e-4)


def test_each_update_of_stage_twos_critics_sees_its_share_of_the_batch(
    trained_dpig: Path, people_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten people, five updates of two rows each, then one of the mappings on as many."""
    system = mapping(people_url, trained_dpig, "standardise=false", "data.augment.flip=false", "data.augment.brightness=0")
    seen: list[Embeddings] = []
    drawn: list[int] = []
    critics, mappings = system._update_critics, system._update_mappings

    def update_critics(real: Embeddings) -> Scalars:
        seen.append(real)
        return critics(real)

    def update_mappings(batch: int) -> Scalars:
        drawn.append(batch)
        return mappings(batch)

    monkeypatch.setattr(system, "_update_critics", update_critics)
    monkeypatch.setattr(system, "_update_mappings", update_mappings)
    batch = first_batch(people_url)
    scalars = system.step(batch)
    updates = system.config.loss.critic_updates
    images, keypoints = training_batch(batch, system.config.data.augment, system.random)
    whole = system.embed(images, keypoints)
    assert len(seen) == updates
    assert drawn == [10 // updates]
    for i, real in enumerate(seen):
        assert all(torch.allclose(real[factor], whole[factor][i::updates], atol=1e-5) for factor in whole)
    assert scalars[REAL_DEVIATION].item() == pytest.approx(torch.cat(list(whole.values()), 1).std(0).mean().item(), rel=1e-4)


def test_a_number_that_hardly_changes_is_scaled_by_a_hundredth_of_the_mean_deviation(
    trained_dpig: Path, people_url: str
) -> None:
    system = mapping(people_url, trained_dpig)
    width = system.widths["pose"]
    values = torch.randn(50, width)
    values[:, 0] = 3.0
    embeddings = {factor: torch.randn(50, w) for factor, w in system.widths.items()} | {"pose": values}
    system.fit(embeddings, system.mappings.network, system.mappings.ema)
    for scaled in (system.mappings.network.as_dict()["pose"], system.mappings.ema.as_dict()["pose"]):
        std = values.std(0, unbiased=False)
        assert torch.allclose(scaled.mean, values.mean(0), atol=1e-5)
        assert torch.allclose(scaled.std[1:], std[1:], atol=1e-5)
        assert scaled.std[0].item() == pytest.approx(0.01 * std.mean().item(), rel=1e-4)


def test_only_the_named_factors_are_embedded_and_learnt(trained_dpig: Path, people_url: str) -> None:
    system = mapping(people_url, trained_dpig, "factors=[pose]")
    batch = first_batch(people_url)
    assert set(system.embed(normalised(batch["image"]), batch["keypoints"])) == {"pose"}
    scalars = system.step(batch)
    assert "loss/pose" in scalars
    assert "loss/foreground" not in scalars
