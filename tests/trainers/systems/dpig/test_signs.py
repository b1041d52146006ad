"""What each player of DPIG's stages maximises, term by term."""

import pytest
import torch
from torch import Tensor

from tests.models.dpig.test_pose import somebody
from tests.trainers.systems.people import stage_config
from tests.trainers.systems.signs import gain
from unbraid.models.dpig.pose import pose_vectors
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.appearance.networks import new_generator
from unbraid.trainers.systems.dpig.appearance.system import Appearance
from unbraid.trainers.systems.dpig.mapping.config import Config as MappingConfig
from unbraid.trainers.systems.dpig.mapping.embedding import Embeddings, StageOne
from unbraid.trainers.systems.dpig.mapping.system import MappingSystem
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.pose.networks import new_pose_autoencoder
from unbraid.trainers.systems.dpig.pose.system import PoseSystem

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
NOWHERE = "nothing is read"
UPDATE, ROWS = 5, 6
PLAIN = ("data.augment.flip=false", "data.augment.brightness=0", "data.augment.contrast=0", "data.augment.saturation=0")


def people() -> tuple[Tensor, Tensor]:
    """Images (2, 3, 32, 16) and keypoints of two."""
    keypoints = somebody() * torch.tensor([0.5, 0.5, 1.0])  # they are of images twice as large
    return torch.rand(2, 3, 32, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1, keypoints


def appearance(*weights: str) -> Appearance:
    torch.manual_seed(0)
    system = build_system(stage_config("appearance", NOWHERE, NOWHERE, *PLAIN, *weights), CPU, World())
    assert isinstance(system, Appearance)
    return system


def mapping(*further: str) -> MappingSystem:
    """Stage II on a fresh stage I."""
    torch.manual_seed(0)
    configs = [stage_config(stage, NOWHERE, NOWHERE) for stage in ("appearance", "pose")]
    config = stage_config("mapping", NOWHERE, NOWHERE, "loss.clip=100", *further)
    assert isinstance(configs[0], AppearanceConfig)
    assert isinstance(configs[1], PoseConfig)
    assert isinstance(config, MappingConfig)
    stage_one = StageOne(new_generator(configs[0]), new_pose_autoencoder(configs[1]))
    system = MappingSystem(config, stage_one, CPU, World())
    system.random.seek(UPDATE)
    return system


def noise_of(system: MappingSystem) -> Embeddings:
    """The noise of the update."""
    system.random.seek(UPDATE)
    return system._noise(ROWS)


@pytest.mark.parametrize(
    ("term", "weights"),
    [
        ("adversarial", ("loss.reconstruction=1e-6", "loss.adversarial=1")),
        ("reconstruction", ("loss.reconstruction=20", "loss.adversarial=1e-6")),
        ("both", ("loss.reconstruction=20", "loss.adversarial=1")),
    ],
)
def test_the_generator_rebuilds_and_passes_for_real(term: str, weights: tuple[str, ...]) -> None:
    system, (images, keypoints) = appearance(*weights), people()

    def own() -> Tensor:
        rebuilt: Tensor = system.generator.network(images, keypoints)
        adversarial = torch.sigmoid(system.discriminator.network(images, rebuilt)[1]).log().mean()
        reconstruction = -(rebuilt - images).abs().mean()
        return {"adversarial": adversarial, "reconstruction": reconstruction, "both": 20 * reconstruction + adversarial}[term]

    assert gain(system.generator, lambda: system.update_generator(images, system.generator(images, keypoints)), own) > 0


@pytest.mark.parametrize("half", ["real", "rebuilt", "both"])
def test_the_discriminator_of_stage_one_tells_real_from_rebuilt_images(half: str) -> None:
    system, (images, keypoints) = appearance(), people()
    rebuilt = system.generator.network(images, keypoints).detach()

    def own() -> Tensor:
        real: Tensor
        fake: Tensor
        of_real, of_fake = system.discriminator.network(images, rebuilt)
        real, fake = torch.sigmoid(of_real).log().mean(), (1 - torch.sigmoid(of_fake)).log().mean()
        return {"real": real, "rebuilt": fake, "both": real + fake}[half]

    assert gain(system.discriminator, lambda: system.update_discriminator(images, rebuilt), own) > 0


def test_the_pose_autoencoder_comes_nearer_to_its_input() -> None:
    torch.manual_seed(0)
    system = build_system(stage_config("pose", NOWHERE, NOWHERE, *PLAIN, "optim.lr=1e-4"), CPU, World())
    assert isinstance(system, PoseSystem)
    images, keypoints = people()
    batch = {"image": images.mul(127.5).add(127.5).byte(), "keypoints": keypoints}
    vectors = pose_vectors(keypoints, (32, 16))
    coordinates = torch.tensor([True, True, False] * 18)  # visibilities are rounded: most steps do not change them
    found = vectors.view(2, 18, 3)[:, :, 2].repeat_interleave(2, 1)

    def own() -> Tensor:
        rebuilt: Tensor = system.autoencoder.network(vectors)
        error = (rebuilt - vectors)[:, coordinates].square()
        return -(error * found).sum()

    assert gain(system.autoencoder, lambda: system.step(batch), own) > 0


@pytest.mark.parametrize("factor", ["foreground", "background", "pose"])
def test_a_mapping_raises_its_critics_scores(factor: str) -> None:
    system = mapping()

    def own() -> Tensor:
        fake = system.mappings.network(noise_of(system))
        return system.critics.network.scores(fake)[factor].mean()

    assert gain(system.mappings, lambda: system._update_mappings(ROWS), own) > 0


@pytest.mark.parametrize("kind", ["rmsprop", "adam"])
@pytest.mark.parametrize("factor", ["foreground", "background", "pose"])
def test_a_critic_scores_real_embeddings_above_drawn_ones(factor: str, kind: str) -> None:
    system = mapping("loss.smoothness=clipping", f"optim.kind={kind}")
    real = {name: torch.randn(ROWS, width) for name, width in system.widths.items()}

    def own() -> Tensor:
        fake = system.mappings.network(noise_of(system))
        return system.critics.network.scores(real)[factor].mean() - system.critics.network.scores(fake)[factor].mean()

    assert gain(system.critics, lambda: system._update_critics(real), own) > 0


@pytest.mark.parametrize("factor", ["foreground", "background", "pose"])
def test_a_penalty_brings_a_critics_slope_nearer_to_one(factor: str) -> None:
    system = mapping("loss.smoothness=penalty", "loss.penalty=1e6")
    real = {name: torch.randn(ROWS, width) for name, width in system.widths.items()}

    def own() -> Tensor:
        fake = system.mappings.network(noise_of(system))
        share = system.random.uniform(ROWS, 1)
        with torch.enable_grad():
            between = (share * real[factor] + (1 - share) * fake[factor]).detach().requires_grad_()
            scores = system.critics.network.scores({**real, factor: between})[factor]
            slope: Tensor = torch.autograd.grad(scores.sum(), between)[0]
        penalty: Tensor = (slope.norm(dim=1) - 1).square().mean()
        return -penalty

    assert gain(system.critics, lambda: system._update_critics(real), own) > 0
