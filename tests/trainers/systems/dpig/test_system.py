"""DPIG's stages: who learns from what, that they learn, how they build on each other, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.people import overrides, pack_people, run, stage_config
from unbraid.datasets.shards.index import read_index, write_index
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import SampleStream, read_split
from unbraid.datasets.synthetic.people.population import Population
from unbraid.models.dpig.specs import FACTORS
from unbraid.models.random import RandomSource
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import CheckpointError, ConfigError
from unbraid.trainers.evaluate import evaluate_run, open_model
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import System, build_system, evaluate, figures, preview
from unbraid.trainers.systems.dpig.appearance.system import Appearance
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.leakage import measure_leakage, true_images
from unbraid.trainers.systems.dpig.mapping.system import MappingSystem
from unbraid.trainers.systems.dpig.model import Factors, Model
from unbraid.trainers.systems.dpig.people import People, gather_people, same_person_pairs
from unbraid.trainers.systems.dpig.plausibility import PoseRange
from unbraid.trainers.systems.dpig.pose.system import PoseSystem

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (32, 16)


def first_batch(url: str, batch: int = 10) -> dict[str, Tensor]:
    with SampleStream(url, "train", batch=batch, lanes=2, window=20, seed=0) as stream:
        return dict(next(stream))


def weights(system: System, *names: str) -> Tensor:
    return torch.cat([p.detach().flatten() for name in names for p in system.networks[name].parameters()]).clone()


# --- updates --------------------------------------------------------------------------------------------------------------


def test_generator_and_discriminator_change_their_own_weights_only(people_url: str, tmp_path: Path) -> None:
    system = build_system(stage_config("appearance", people_url, tmp_path), CPU, World())
    assert isinstance(system, Appearance)
    images, keypoints = torch.rand(4, 3, *SIZE), first_batch(people_url, 4)["keypoints"]
    rebuilt = system.generator(images, keypoints)
    generator, critic = weights(system, "generator"), weights(system, "discriminator")
    system.update_discriminator(images, rebuilt.detach())
    assert torch.equal(generator, weights(system, "generator"))
    assert not torch.equal(critic, weights(system, "discriminator"))
    critic = weights(system, "discriminator")
    system.update_generator(images, rebuilt)
    assert torch.equal(critic, weights(system, "discriminator"))
    assert not torch.equal(generator, weights(system, "generator"))


def test_the_critic_comes_in_when_it_is_asked_to(people_url: str, tmp_path: Path) -> None:
    config = stage_config("appearance", people_url, tmp_path, "run.updates=4", "loss.adversarial_from=0.5")
    system = build_system(config, CPU, World())
    assert ["loss/d" in system.step(first_batch(people_url)) for _ in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("stage", ["appearance", "pose", "mapping"])
def test_one_seed_decides_everything(stage: str, trained_dpig: Path, people_url: str) -> None:
    def losses(seed: int) -> list[dict[str, float]]:
        system = build_system(stage_config(stage, people_url, trained_dpig, f"run.seed={seed}"), CPU, World())
        return [{k: v.item() for k, v in system.step(first_batch(people_url)).items()} for _ in range(2)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_stage_two_leaves_stage_one_alone(trained_dpig: Path, people_url: str) -> None:
    system = build_system(stage_config("mapping", people_url, trained_dpig), CPU, World())
    before, mappings = weights(system, "generator", "pose_autoencoder"), weights(system, "mappings")
    for _ in range(2):
        system.step(first_batch(people_url))
    assert torch.equal(before, weights(system, "generator", "pose_autoencoder"))
    assert not torch.equal(mappings, weights(system, "mappings"))


def test_clipped_critics_stay_within_their_bounds(trained_dpig: Path, people_url: str) -> None:
    config = stage_config(
        "mapping", people_url, trained_dpig, "loss.smoothness=clipping", "loss.clip=0.02", "optim.kind=rmsprop"
    )
    system = build_system(config, CPU, World())
    assert weights(system, "critics").abs().max() > 0.02
    system.step(first_batch(people_url))
    assert weights(system, "critics").abs().max() <= 0.02


def test_embeddings_are_standardised_by_the_first_batch(trained_dpig: Path, people_url: str) -> None:
    system = build_system(stage_config("mapping", people_url, trained_dpig), CPU, World())
    assert isinstance(system, MappingSystem)
    batch = first_batch(people_url)
    system.step(batch)
    system.random.seek(0)
    real = system.embed(*training_batch(batch, system.config.data.augment, system.random))
    for factor, mapping in system.mappings.network.as_dict().items():
        assert torch.allclose(mapping.mean, real[factor].mean(0), atol=1e-5)
        standard = mapping.standardise(real[factor])
        assert standard.std(0, unbiased=False).max() < 1.01


# --- learning -------------------------------------------------------------------------------------------------------------


def test_stage_one_learns_to_rebuild_and_the_background_stays_where_it_is(people_url: str, tmp_path: Path) -> None:
    """Two hundred updates on a few people; the control is the same network before them."""
    config = stage_config(
        "appearance", people_url, tmp_path, "run.updates=200", "optim.lr_generator=2e-3", "loss.adversarial=0",
        "optim.ema_decay=0.9", "networks.decoder.channels=8", "networks.encoder.channels=8",
    )  # fmt: skip
    system = build_system(config, CPU, World())
    assert isinstance(system, Appearance)
    data = EvaluationData(config, CPU, "test")
    before = evaluate(config, system.model, data)
    with SampleStream(people_url, "train", batch=10, lanes=2, window=20, seed=0) as stream:
        for _ in range(200):
            system.step(next(stream))
    after = evaluate(config, system.model, data)
    assert after["rebuilt/l1"] < 0.75 * before["rebuilt/l1"]
    assert after["truth/background_ratio"] > 1.5 * before["truth/background_ratio"]
    assert after["leakage/background_on_background"] < 0.9 * before["leakage/background_on_background"]
    assert set(preview(config, system.model, data)) == {"rebuilt", "swap_foreground", "swap_background", "swap_pose"}
    assert set(figures(config, system.model, data, after)) == {"transfer", "leakage"}


def test_the_pose_branch_learns_to_compress(people_url: str, tmp_path: Path) -> None:
    config = resolve("dpig-people-small-pose", [*overrides("pose", people_url, tmp_path), "networks.pose.hidden=64",
                     "networks.pose.embedding=20", "run.updates=400", "optim.lr=3e-3", "optim.ema_decay=0.9"])  # fmt: skip
    system = build_system(config, CPU, World())
    assert isinstance(system, PoseSystem)
    data = EvaluationData(config, CPU, "test")
    before = evaluate(config, system.model, data)["keypoint/error_percent"]
    with SampleStream(people_url, "train", batch=10, lanes=2, window=20, seed=0) as stream:
        for _ in range(400):
            system.step(next(stream))
    after = evaluate(config, system.model, data)
    assert after["keypoint/error_percent"] < 0.5 * before
    assert after["plausible/real_percent"] > 60


# --- measures -------------------------------------------------------------------------------------------------------------


def test_people_who_are_seen_once_are_no_pairs_which_is_said(
    tmp_path: Path, trained_dpig: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = pack_people(tmp_path / "once", images=1)
    model, config = open_model("appearance", str(trained_dpig), CPU)
    data = EvaluationData(config.model_copy(update={"data": config.data.model_copy(update={"url": url})}), CPU, "test")
    scores = evaluate(config, model, data)
    assert not [name for name in scores if name.startswith("transfer/")]
    assert "no two show one person (field person)" in caplog.text


class TrueModel(Model):
    """What a perfect model would do: its embeddings are the numbers of the factors, and it draws the truth."""

    def __init__(self, population: Population, leak: bool = False) -> None:
        self.population, self.leak, self.size, self.device = population, leak, SIZE, CPU  # no networks
        self.people: list[People] = []

    def encode(self, images: Tensor, keypoints: Tensor) -> Factors:
        """Looked up among the people that were announced."""
        person, background, pose = (torch.cat([getattr(p, n) for p in self.people]) for n in ("person", "background", "pose"))
        known = torch.cat([p.images for p in self.people])
        rows = torch.tensor([int((known == image).flatten(1).all(1).nonzero()[0]) for image in images])
        return Factors(person[rows, None].float(), background[rows, None].float(), pose[rows].float()[:, None, None])

    def decode(self, factors: Factors) -> Tensor:
        foreground = factors.background if self.leak else factors.foreground
        numbers = [foreground, factors.background, factors.pose.flatten(1)]
        rows = torch.cat(numbers, 1).long().tolist()
        images = torch.stack([torch.from_numpy(self.population.render(*row).image) for row in rows])
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def test_a_perfect_model_leaks_nothing_and_a_broken_one_does(people_url: str) -> None:
    people = gather_people(read_split(people_url, "train", 50, 24), World())
    mine, others = people[slice(0, 12)], people[slice(12, 24)]
    population = Population(0, *SIZE)
    for leak in (False, True):
        model = TrueModel(population, leak)
        model.people = [mine, others]
        leakage = measure_leakage(model, population, mine, others)
        if not leak:
            assert leakage.diagonal < 1e-6
            assert leakage.inside.max() < 1e-6
            assert leakage.off_diagonal < 1e-6
        else:  # the person changes with the background, and not with the foreground
            assert leakage.matrix[1, 0] > 0.5
            assert leakage.matrix[0, 0] > 0.9


def test_truth_is_what_the_camera_saw(people_url: str) -> None:
    people = gather_people(read_split(people_url, "train", 50, 6), World())
    truth = true_images(Population(0, *SIZE), people, people, None)
    assert ((people.images + 1) / 2 - truth).abs().mean() < 0.04
    swapped = true_images(Population(0, *SIZE), people, people[torch.tensor([1, 2, 3, 4, 5, 0])], "foreground")
    assert (swapped - truth).abs().mean() > 0.01


def test_quality_of_an_image_with_itself_is_perfect() -> None:
    images = torch.rand(3, 3, 32, 16)
    scores = image_quality(images, images, torch.ones(3, 1, 32, 16))
    assert scores["ssim"] == pytest.approx(1, abs=1e-4)
    assert scores["mask_ssim"] == pytest.approx(1, abs=1e-4)
    assert scores["l1"] == 0
    assert image_quality(images, 1 - images)["ssim"] < 0.5


def test_pairs_are_of_the_same_person(people_url: str) -> None:
    people = gather_people(read_split(people_url, "train", 50, 30), World())
    condition, target = same_person_pairs(people)
    assert torch.equal(people.person[condition], people.person[target])
    assert (people.pose[condition] != people.pose[target]).all()
    assert len(condition) >= 24


def test_a_whole_split_is_measured_where_it_is_asked_for(trained_dpig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve held-out images, four of each of three people, make twelve pairs; the first four images make fewer."""
    pairs: list[int] = []

    def counted(people: People) -> tuple[Tensor, Tensor]:
        condition, target = same_person_pairs(people)
        pairs.append(len(condition))
        return condition, target

    monkeypatch.setattr("unbraid.trainers.systems.dpig.transfer.same_person_pairs", counted)
    monkeypatch.setattr("unbraid.trainers.systems.dpig.appearance.measures.EVALUATED", 4)
    few = evaluate_run(str(trained_dpig), "appearance", None)
    whole = evaluate_run(str(trained_dpig), "appearance", None, whole=True)
    assert pairs[0] <= 4
    assert pairs[1] == 12
    assert few["transfer/ssim_pg2"] != whole["transfer/ssim_pg2"]


def test_impossible_poses_are_told(people_url: str) -> None:
    keypoints = torch.cat([b["keypoints"] for b in read_split(people_url, "train", 50)])
    seen = PoseRange.of(keypoints, SIZE)
    assert seen.plausible(keypoints, SIZE).float().mean() > 0.9
    upside_down = keypoints.clone()
    upside_down[:, :, 0] = torch.where(keypoints[:, :, 2] > 0, SIZE[0] - 1 - keypoints[:, :, 0], -1)
    assert not seen.plausible(upside_down, SIZE).any()
    scattered = torch.rand(50, 18, 3) * torch.tensor([31.0, 15.0, 0.0]) + torch.tensor([0.0, 0.0, 1.0])
    assert seen.plausible(scattered, SIZE).float().mean() < 0.1


# --- from stage to stage --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unmeasured")
def test_stage_two_resumes_bit_for_bit_even_when_stage_one_went_on(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    shutil.copytree(trained_dpig, storage)
    shutil.rmtree(storage / "mapping")
    run(stage_config("mapping", people_url, storage, "run.updates=4", "run.checkpoint_every=2", "optim.decay_from=1"))
    whole = final(storage, "mapping")
    for folder in (storage / "mapping" / "checkpoints").iterdir():
        if int(folder.name.removeprefix("step-")) == 4:
            shutil.rmtree(folder)
    run(stage_config("appearance", people_url, storage, "run.updates=8"))
    run(stage_config("mapping", people_url, storage, "run.updates=4", "run.checkpoint_every=2", "optim.decay_from=1"))
    again = final(storage, "mapping")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    moved = final(storage, "appearance")["generator_ema.decoder.last.weight"]
    assert not torch.equal(moved, whole["generator.decoder.last.weight"])


def final(storage: Path, name: str) -> dict[str, Any]:
    state = Checkpoints(open_run(str(storage), name), keep=2).load()
    assert state is not None
    return {f"{n}.{k}": v for n, network in state["networks"].items() for k, v in network.items()}


def test_a_finished_stage_two_is_measured_and_loads_as_a_model(trained_dpig: Path) -> None:
    scores = read_run(open_run(str(trained_dpig), "mapping"))["evaluation"]
    assert {f"frechet/{factor}" for factor in FACTORS} <= set(scores)
    assert {"plausible/sampled_percent", "frechet/mean_ratio"} <= set(scores)
    assert "wasserstein/pose" in read_metrics(open_run(str(trained_dpig), "mapping"))[0]
    model, _ = open_model("mapping", str(trained_dpig), CPU)
    people = model.sample(4, RandomSource(0, CPU))
    assert model.decode(people).shape == (4, 3, *SIZE)
    assert people.pose.shape == (4, 18, 3)


def test_a_run_of_stage_two_needs_no_stage_one_to_draw(trained_dpig: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_dpig / "mapping", tmp_path / "elsewhere" / "mapping")
    before, _ = open_model("mapping", str(trained_dpig), CPU)
    after, config = open_model("mapping", str(tmp_path / "elsewhere"), CPU)
    moved = after.sample(3, RandomSource(0, CPU))
    assert torch.equal(before.decode(before.sample(3, RandomSource(0, CPU))), after.decode(moved))
    assert config.system == "dpig.mapping"


def test_embeddings_drawn_before_the_first_average_have_their_scale(trained_dpig: Path, people_url: str) -> None:
    system = build_system(stage_config("mapping", people_url, trained_dpig, "optim.ema_every=10"), CPU, World())
    assert isinstance(system, MappingSystem)
    system.step(first_batch(people_url))
    for factor, mapping in system.mappings.network.as_dict().items():
        assert torch.equal(system.mappings.ema.as_dict()[factor].std, mapping.std)
        assert not torch.equal(mapping.std, torch.ones_like(mapping.std))


def test_inverting_finds_the_noise_that_fake_an_embedding(trained_dpig: Path) -> None:
    model, _ = open_model("mapping", str(trained_dpig), CPU)
    noise = model.noise("pose", 6, RandomSource(1, CPU))
    embedding = model.mapping("pose").draw(noise)
    _, left = model.invert("pose", embedding)
    assert left.mean() < 0.2


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["stages.appearance=''"], r"stages\.appearance: name the run of stage I"),
        (["stages.appearance=nowhere"], r"stages\.appearance: no run 'nowhere' in .*train stage I first"),
        (["stages.pose=appearance"], r"stages\.pose: appearance is a run of dpig\.appearance, not of dpig\.pose"),
        (["networks.image.height=64"], r"stages\.appearance: appearance is for images of \(3, 32, 16\), networks\.image is"),
    ],
)
def test_a_stage_one_that_does_not_fit_is_refused(
    further: list[str], message: str, trained_dpig: Path, people_url: str
) -> None:
    config = stage_config("mapping", people_url, trained_dpig, "run.name=other", *further)
    with pytest.raises(ConfigError, match=message):
        config.require_inputs()
    assert not (trained_dpig / "other").exists()


def test_stage_two_before_stage_one_has_a_checkpoint_is_refused(people_url: str, tmp_path: Path) -> None:
    for stage in ("appearance", "pose"):
        preflight(stage_config(stage, people_url, tmp_path), "test")
    with pytest.raises(ConfigError, match=r"stages\.appearance: .* has no checkpoint yet"):
        preflight(stage_config("mapping", people_url, tmp_path), "test")


def test_a_checkpoint_of_other_sizes_is_refused(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    shutil.copytree(trained_dpig, tmp_path / "runs")
    config = tmp_path / "runs" / "pose" / "config.yaml"
    config.write_text(config.read_text().replace("embedding: 5", "embedding: 7"))
    with pytest.raises(CheckpointError, match="autoencoder_ema does not fit this configuration"):
        build_system(stage_config("mapping", people_url, tmp_path / "runs"), CPU, World())


def test_a_set_without_keypoints_is_refused(people_url: str, tmp_path: Path) -> None:
    shutil.copytree(people_url, tmp_path / "bare")
    store = open_store(str(tmp_path / "bare"))
    index = read_index(store)
    fields = {name: field for name, field in index.fields.items() if name != "keypoints"}
    write_index(store, type(index)(**(vars(index) | {"fields": fields})))
    with pytest.raises(ConfigError, match=r"have no keypoints .*which dpig\.appearance needs"):
        preflight(stage_config("appearance", str(tmp_path / "bare"), tmp_path / "runs"), "test")


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("appearance", "data.augment.crop=2", r"data\.augment\.crop moves images but not their keypoints"),
        ("appearance", "networks.image.channels=1", "people are in colour"),
        ("appearance", "networks.decoder.blocks=7", r"networks\.decoder changes the image by a factor of 64"),
        ("appearance", "networks.encoder.crop=2", r"networks\.encoder\.crop=2 cannot be halved 2 times"),
        ("appearance", "networks.drawing.closing=4", "closing must be odd"),
        ("mapping", "loss.critic_updates=7", r"loss\.critic_updates=7"),
        ("mapping", "factors=[pose, pose]", "at most once"),
        ("mapping", "kind=normal", "kind: expected 'wgan' or 'gaussian'"),
        ("mapping", "standardise=white", "standardise: .*'correlated'"),
    ],
)
def test_configurations_that_cannot_run_are_refused(stage: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(f"dpig-people-small-{stage}", [override])
