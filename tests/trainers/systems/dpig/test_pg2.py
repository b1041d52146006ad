"""PG², the baseline of equal size: its pairs, its update, what each player maximises, and what a run of it reports."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from tests.models.dpig.test_pose import somebody
from tests.trainers.systems.dpig.test_system import SIZE, first_batch
from tests.trainers.systems.people import pack_people, run
from tests.trainers.systems.signs import gain
from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.errors import DataError
from unbraid.models.dpig.pose import body_mask, flip_keypoints
from unbraid.models.losses import generator_loss
from unbraid.models.random import RandomSource
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.evaluate import evaluate_run, open_model
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.measures.similarity_pg2 import image_quality_pg2
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.system import build_system, evaluate, figures, preview
from unbraid.trainers.systems.dpig.people import gather_people, same_person_pairs
from unbraid.trainers.systems.dpig.pg2.config import Config
from unbraid.trainers.systems.dpig.pg2.model import Model
from unbraid.trainers.systems.dpig.pg2.pairs import Pairs, random_pairs, training_pairs
from unbraid.trainers.systems.dpig.pg2.system import PG2, paired_mean

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
NOWHERE = "nothing is read"
TINY = [
    "networks.image={channels: 3, height: 32, width: 16}", "networks.generator={channels: 4, blocks: 3, bottleneck: 8}",
    "networks.drawing={heat_radius: 1.5, mask_radius: 2, closing: 3}", "networks.discriminator={channels: [4, 8]}",
    "data.batch=20", "data.lanes=2", "data.window=20", "images_per_pair=5", "loss.adversarial_from=0", "run.precision=float32",
    "run.cpus=1", "run.workers=1", "run.log_every=1", "optim.ema_every=1", "run.name=pg2",
]  # fmt: skip


def config(url: str, storage: Path | str, *further: str) -> SystemConfig:
    """The small preset in miniature."""
    return resolve("pg2-people-small", [*TINY, f"data.url={url}", f"run.storage={storage}", *further])


def pg2(*further: str) -> PG2:
    chosen = config(NOWHERE, NOWHERE, *further)
    assert isinstance(chosen, Config)
    torch.manual_seed(0)
    return PG2(chosen, CPU, World())


def pairs(found: Tensor | None = None) -> Pairs:
    """Two, with poses of their own."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, 3, *SIZE, generator=generator) * 2 - 1
    keypoints = somebody() * torch.tensor([0.5, 0.5, 1.0])  # they are of images twice as large
    return Pairs(images[:2], images[2:], keypoints, torch.ones(2) if found is None else found)


# --- pairs ----------------------------------------------------------------------------------------------------------------


def test_a_pair_is_two_images_of_one_person_and_every_such_pair_is_drawn() -> None:
    person = torch.tensor([3, 5, 3, -1, 5, 3, -1, 8])
    source, drawn = RandomSource(0, CPU), set()
    for update in range(200):
        source.seek(update)
        condition, target, found = random_pairs(person, 4, source)
        assert found.tolist() == [1.0] * 4
        assert len(set(condition.tolist())) == 4
        drawn |= set(zip(condition.tolist(), target.tolist(), strict=True))
    expected = {(a, b) for same in ([0, 2, 5], [1, 4]) for a in same for b in same if a != b}
    assert drawn == expected


def test_where_pairs_are_missing_the_rest_is_marked() -> None:
    _, _, found = random_pairs(torch.tensor([1, 2, 2, 3, -1, -1]), 4, RandomSource(0, CPU))
    assert sorted(found.tolist()) == [0, 0, 1, 1]
    _, _, found = random_pairs(torch.arange(6), 3, RandomSource(0, CPU))
    assert not found.any()


def test_both_images_of_a_pair_are_mirrored_or_neither_with_the_keypoints(people_url: str) -> None:
    batch = first_batch(people_url, 20)
    plain, changed = (training_pairs(batch, 8, flip, RandomSource(2, CPU)) for flip in (False, True))
    mirrored = [not torch.equal(a, b) for a, b in zip(plain.condition, changed.condition, strict=True)]
    assert 0 < sum(mirrored) < 8
    for i, is_mirrored in enumerate(mirrored):
        for before, after in ((plain.condition, changed.condition), (plain.target, changed.target)):
            assert torch.equal(after[i], before[i].flip(2) if is_mirrored else before[i])
        wanted = flip_keypoints(plain.keypoints, SIZE[1]) if is_mirrored else plain.keypoints
        assert torch.equal(changed.keypoints[i], wanted[i])


def test_keypoints_are_the_targets(people_url: str) -> None:
    batch = first_batch(people_url, 20)
    condition, target, found = random_pairs(batch["person"], 6, RandomSource(4, CPU))
    drawn = training_pairs(batch, 6, False, RandomSource(4, CPU))
    assert found.all()
    assert torch.equal(batch["person"][condition], batch["person"][target])
    assert torch.equal(drawn.keypoints, batch["keypoints"][target])
    assert torch.allclose(drawn.target, batch["image"][target] / 127.5 - 1)
    assert torch.allclose(drawn.condition, batch["image"][condition] / 127.5 - 1)


# --- the update -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask_weight", "adversarial"), [(1.0, 0.5), (0.0, 0.5), (3.0, 0.0)])
def test_the_generator_minimises_masked_l1_and_adversarial_loss(
    mask_weight: float, adversarial: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = pg2("loss.reconstruction=7", f"loss.mask={mask_weight}", f"loss.adversarial={adversarial}")
    given = pairs()
    fake = system.generator(given.condition, given.keypoints)
    losses: list[Tensor] = []
    monkeypatch.setattr(system.generator, "update", losses.append)
    scalars = system.update_generator(given, fake)
    mask = body_mask(given.keypoints, SIZE, 2, 3)
    assert 0.05 < mask.mean() < 0.95
    error = (fake - given.target).abs()
    masked = (error + mask_weight * error * mask).mean()
    expected = 7 * masked
    if adversarial:
        cross_entropy = generator_loss(system.discriminator.network(given.target, fake)[1])
        expected = expected + adversarial * cross_entropy
    assert losses[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert scalars["loss/l1"].item() == pytest.approx(error.mean().item(), rel=1e-5)
    assert scalars["loss/masked_l1"].item() == pytest.approx(masked.item(), rel=1e-5)


def test_what_is_no_pair_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([[1.0, 3.0], [10.0, 20.0]])
    assert paired_mean(values, torch.tensor([1.0, 0.0])).item() == 2
    assert paired_mean(values, torch.zeros(2)).item() == 0
    system, given = pg2("loss.adversarial=0"), pairs(torch.tensor([0.0, 1.0]))
    fake = system.generator(given.condition, given.keypoints)
    losses: list[Tensor] = []
    monkeypatch.setattr(system.generator, "update", losses.append)
    scalars = system.update_generator(given, fake)
    assert scalars["loss/l1"].item() == pytest.approx((fake - given.target)[1].abs().mean().item(), rel=1e-5)


@pytest.mark.parametrize("term", ["adversarial", "reconstruction", "body"])
def test_the_generator_comes_nearer_to_the_target_and_passes_for_real(term: str) -> None:
    weights = {
        "adversarial": ("loss.reconstruction=1e-6", "loss.adversarial=1"),
        "reconstruction": ("loss.reconstruction=20", "loss.adversarial=1e-6"),
        "body": ("loss.reconstruction=20", "loss.adversarial=1e-6", "loss.mask=1e4"),
    }[term]
    system, given = pg2(*weights), pairs()
    mask = body_mask(given.keypoints, SIZE, 2, 3)

    def own() -> Tensor:
        fake: Tensor = system.generator.network(given.condition, given.keypoints)
        error = (fake - given.target).abs()
        return {
            "adversarial": torch.sigmoid(system.discriminator.network(given.target, fake)[1]).log().mean(),
            "reconstruction": -(error * (1 + mask)).mean(),
            "body": -(error * mask).mean(),
        }[term]

    def update() -> None:
        system.update_generator(given, system.generator(given.condition, given.keypoints))

    assert gain(system.generator, update, own) > 0


@pytest.mark.parametrize("half", ["real", "generated", "both"])
def test_the_discriminator_tells_real_from_generated_images(half: str) -> None:
    system, given = pg2(), pairs()
    fake = system.generator.network(given.condition, given.keypoints).detach()

    def own() -> Tensor:
        of_real, of_fake = system.discriminator.network(given.target, fake)
        real, generated = torch.sigmoid(of_real).log().mean(), (1 - torch.sigmoid(of_fake)).log().mean()
        return {"real": real, "generated": generated, "both": real + generated}[half]

    assert gain(system.discriminator, lambda: system.update_discriminator(given.target, fake), own) > 0


def test_each_player_changes_its_own_weights_only_and_the_discriminator_comes_in_when_it_is_asked_to(people_url: str) -> None:
    system = pg2("run.updates=4", "loss.adversarial_from=0.5")

    def weights(name: str) -> Tensor:
        return torch.cat([p.detach().flatten() for p in system.networks[name].parameters()]).clone()

    before = {name: weights(name) for name in ("generator", "discriminator")}
    batch, seen = first_batch(people_url, 20), []
    for _ in range(4):
        seen.append(DISCRIMINATOR_LOSS in system.step(batch))
        if len(seen) == 2:
            assert torch.equal(before["discriminator"], weights("discriminator"))
            assert not torch.equal(before["generator"], weights("generator"))
    assert seen == [False, False, True, True]
    assert not torch.equal(before["discriminator"], weights("discriminator"))


def test_both_players_learn_from_the_same_images(people_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, given = pg2(), []

    def of_discriminator(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        given.append((real, fake))
        return {}

    def of_generator(pairs: Pairs, fake: Tensor) -> dict[str, Tensor]:
        given.append((pairs.target, fake))
        return {}

    monkeypatch.setattr(system, "update_discriminator", of_discriminator)
    monkeypatch.setattr(system, "update_generator", of_generator)
    system.step(first_batch(people_url, 20))
    (real, fake), (target, drawn) = given
    assert real.shape == (4, 3, *SIZE)
    assert torch.equal(real, target)
    assert torch.equal(fake, drawn)
    assert drawn.requires_grad
    assert not fake.requires_grad
    assert not torch.equal(fake, real)


def test_a_person_is_drawn_in_the_targets_pose_and_not_in_the_own(people_url: str) -> None:
    """Learnt by heart: with the targets' keypoints, images are nearer to the targets than conditions are."""
    system = pg2("loss.adversarial=0", "optim.lr_generator=3e-3", "run.updates=150", "networks.generator.channels=8")
    batch = first_batch(people_url, 20)
    shares = [system.step(batch)["pairs/found"].item() for _ in range(150)]
    assert min(shares) == 1
    given = training_pairs(batch, 12, False, RandomSource(9, CPU))
    with torch.no_grad():
        error = (system.generator.network(given.condition, given.keypoints) - given.target).abs().mean()
        others = (system.generator.network(given.condition, given.keypoints.roll(1, 0)) - given.target).abs().mean()
    assert error < 0.65 * (given.condition - given.target).abs().mean()
    assert error < 0.9 * others


# --- runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(people_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with a run ``pg2`` after a few updates."""
    storage = tmp_path_factory.mktemp("pg2-runs")
    run(config(people_url, storage, "run.updates=4"))
    return storage


def test_a_run_reports_the_measures_of_transfer_and_draws_it(trained: Path, people_url: str) -> None:
    wanted = config(people_url, trained, "run.updates=4")
    scores = read_run(open_run(str(trained), "pg2"))["evaluation"]
    assert set(wanted.measures()) <= set(scores)
    again = evaluate_run(str(trained), "pg2", None)
    assert again["transfer/ssim"] == pytest.approx(scores["transfer/ssim"], abs=1e-6)
    model, opened = open_model("pg2", str(trained), CPU, ("dpig.pg2",))
    assert isinstance(model, Model)
    data = EvaluationData(opened, CPU, "test")
    people = gather_people(data.held_out(), World())
    condition, target = same_person_pairs(people)
    with torch.no_grad():
        drawn = model.generator(people.images[condition], people.keypoints[target])
    assert torch.allclose(model.posed(people[condition], people[target]), drawn, atol=1e-6)
    fake, real = unit_range(drawn), unit_range(people.images[target])
    by_hand = image_quality_pg2(fake, real, model.masks(people.keypoints[target]))
    assert evaluate(opened, model, data)["transfer/ssim_pg2"] == pytest.approx(by_hand["ssim_pg2"], abs=1e-6)
    shown = {**preview(opened, model, data), **figures(opened, model, data, scores)}
    assert set(shown) == {"transfer", "transfer_held_out"}
    enlarged = 3  # pictures of 32x16 are
    assert shown["transfer"].shape == (3, 4 * (32 * enlarged + 2) - 2, 8 * (16 * enlarged + 2) - 2)


def test_a_set_without_pairs_is_one_error_before_training(tmp_path: Path, people_url: str) -> None:
    lonely = pack_people(tmp_path / "lonely", images=1)
    small = ("run.name=pg2", "data.batch=4", "data.lanes=2", "images_per_pair=2")
    with pytest.raises(
        DataError, match=r"first 9 images of split train no two show one person .*several images of each person"
    ):
        preflight(config(lonely, tmp_path, *small), "test")
    assert not (tmp_path / "pg2").exists(), "no run is claimed"
    preflight(config(people_url, tmp_path, *small), "test")
    assert (tmp_path / "pg2").exists()


def test_measures_do_not_depend_on_the_search_seeing_labels(trained: Path, people_url: str) -> None:
    """Training reads who is who itself."""
    model, opened = open_model("pg2", str(trained), CPU)
    blind = opened.model_copy(update={"run": opened.run.model_copy(update={"labels": False})})
    assert set(config(people_url, trained).measures()) <= set(evaluate(blind, model, EvaluationData(blind, CPU, "test")))


@pytest.mark.parametrize(
    ("ours", "published"),
    [("pg2-people-small", "dpig-people-small-appearance"), ("pg2-market1501", "dpig-market1501-appearance")],
)
def test_the_baseline_is_of_dpigs_size(ours: str, published: str) -> None:
    def parameters(preset: str) -> int:
        system = build_system(resolve(preset), torch.device("meta"), World())
        return sum(p.numel() for p in system.networks["generator"].parameters())

    sizes = {preset: parameters(preset) for preset in (ours, published)}
    assert sizes[ours] == pytest.approx(sizes[published], rel=0.1)
    mine, theirs = resolve(ours), resolve(published)
    assert mine.run.updates == theirs.run.updates
    assert mine.data.batch // mine.model_dump()["images_per_pair"] == theirs.data.batch


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("images_per_pair=3", "images_per_pair=3 must divide the images of each worker, here 20 of data.batch=20"),
        ("data.augment.brightness=0.5", "use flip only"),
        ("networks.image={channels: 1, height: 32, width: 16}", "people are in colour"),
        ("networks.generator.blocks=6", "networks.generator changes the image by a factor of 32"),
    ],
)
def test_a_configuration_that_cannot_run_is_one_error(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(NOWHERE, NOWHERE, override)


def test_generate_draws_transfer_with_a_run_of_the_baseline_and_nothing_that_needs_factors(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    arguments = ["pg2", "--storage", str(trained), "--people", "3"]
    drawn = CliRunner().invoke(main, ["generate", "dpig", "transfer", *arguments])
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "transfer.png").is_file()
    refused = CliRunner().invoke(main, ["generate", "dpig", "swap", *arguments])
    assert refused.exit_code == 1
    assert "is a run of dpig.pg2; name a run of dpig.mapping or dpig.appearance" in refused.output


def test_dpigs_stage_one_draws_the_conditions_appearance_in_the_targets_pose(trained_dpig: Path) -> None:
    model, opened = open_model("appearance", str(trained_dpig), CPU)
    people = gather_people(EvaluationData(opened, CPU, "test").held_out(4), World())
    mine, others = people[slice(0, 2)], people[slice(2, 4)]
    with torch.no_grad():
        drawn = model.generator.decoder(*model.generator.encoder(mine.images, mine.keypoints), others.keypoints)
    assert torch.allclose(model.posed(mine, others), drawn, atol=1e-6)
