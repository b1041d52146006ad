"""Stage II as a Gaussian, and a WGAN that begins as one."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.dpig.test_system import CPU, SIZE, final, first_batch, weights
from tests.trainers.systems.people import run, stage_config
from unbraid.datasets.stream.stream import SampleStream
from unbraid.models.dpig.embeddings import NoiseMapping, NoiseMappings
from unbraid.models.dpig.moments import Moments
from unbraid.models.dpig.specs import FACTORS, MappingSpec
from unbraid.models.random import RandomSource
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.mapping.gaussian import GaussianSystem
from unbraid.trainers.systems.dpig.mapping.measures import Scale, fitted_gaussian
from unbraid.trainers.systems.dpig.mapping.system import MappingSystem
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.plausibility import joint_deviations

pytestmark = pytest.mark.usefixtures("one_thread")
GAUSSIAN = ("kind=gaussian", "run.name=gaussian")
CORRELATED = ("standardise=correlated", "fit_updates=3", "run.updates=5", "noise_std=1")


def correlated(count: int, seed: int = 0) -> Tensor:
    """Five numbers of deviations 0.01 to 100 that depend on each other."""
    independent = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    mixed = independent + 0.7 * independent.roll(1, 1)
    return mixed * torch.tensor([0.01, 1.0, 100.0, 3.0, 0.2]) + torch.tensor([1.0, -2.0, 30.0, 0.0, 0.5])


# --- moments --------------------------------------------------------------------------------------------------------------


def test_moments_of_batches_are_those_of_all() -> None:
    values, whole, merged = correlated(300), Moments(5), Moments(5)
    whole.add(values)
    for part in values.split(110):
        of_part = Moments(5)
        of_part.add(part)
        merged.merge(of_part)
    for moments in (whole, merged):
        assert torch.allclose(moments.mean, values.double().mean(0))
        assert torch.allclose(moments.covariance, torch.cov(values.double().T, correction=0))
    assert torch.allclose(whole.factor, merged.factor)


def test_the_gaussian_draws_mean_and_covariance_and_is_inverted_exactly() -> None:
    values = correlated(4000)
    mapping = fitted_gaussian(values)
    drawn = mapping.draw(torch.randn(40_000, 5, generator=torch.Generator().manual_seed(1)))
    scale = Scale.of(values)
    assert torch.allclose(scale(drawn).mean(0), torch.zeros(5), atol=0.03)
    assert torch.allclose(torch.cov(scale(drawn).T), torch.cov(scale(values).T), atol=0.04)
    assert torch.allclose(mapping.draw(mapping.noise_of(values)), values, rtol=1e-4, atol=1e-4)
    assert torch.allclose(torch.cov(mapping.noise_of(values).T), torch.eye(5), atol=0.01)


def test_numbers_that_never_change_or_depend_on_each_other_are_drawn_so() -> None:
    values = torch.cat([correlated(200), correlated(200)[:, :2], torch.full((200, 1), 3.0)], 1)
    drawn = fitted_gaussian(values).draw(torch.randn(500, 8))
    assert torch.isfinite(drawn).all()
    assert torch.corrcoef(drawn[:, [0, 5]].T)[0, 1] > 0.99
    assert (drawn[:, 7] - 3).abs().max() < 0.05 * values[:, 2].std()


def test_a_correlated_residual_mapping_begins_as_the_gaussian() -> None:
    values, moments = correlated(4000), Moments(5)
    moments.add(values)
    mapping = NoiseMapping(MappingSpec(8, 1, residual=True), 5, correlated=True)
    mapping.fit(moments)
    noise = torch.randn(10, 5)
    assert torch.equal(mapping.draw(noise), fitted_gaussian(values).draw(noise))
    assert torch.allclose(mapping.draw(noise), mapping.mean + mapping.std * mapping(noise))
    assert torch.allclose(mapping.standardise(values), (values - mapping.mean) / mapping.std)
    mapping(noise).square().sum().backward()
    last = list(mapping.layers.parameters())[-2]
    assert last.grad is not None
    assert last.grad.abs().sum() > 0


def test_a_mapping_that_is_not_correlated_stores_no_factor() -> None:
    assert set(NoiseMapping(MappingSpec(8, 1), 5).state_dict()) >= {"mean", "std"}
    assert "factor" not in NoiseMapping(MappingSpec(8, 1), 5).state_dict()
    assert set(NoiseMappings({"pose": None}, {"pose": 5}, correlated=True).state_dict()) == {
        f"by_factor.pose.{name}" for name in ("mean", "std", "factor")
    }


# --- the run --------------------------------------------------------------------------------------------------------------


def test_an_update_counts_a_batch_in_and_learns_nothing(trained_dpig: Path, people_url: str) -> None:
    system = build_system(stage_config("mapping", people_url, trained_dpig, *GAUSSIAN), CPU, World())
    assert isinstance(system, GaussianSystem)
    assert system.optimizers == {}
    seen = []
    with SampleStream(people_url, "train", batch=10, lanes=2, window=20, seed=0) as stream:
        for update in range(3):
            batch = next(stream)
            scalars = system.step(batch)
            system.random.seek(update)
            seen.append(system.embedded(batch))
    assert scalars["gaussian/images"].item() == 30
    assert system.updates == 3
    for factor in FACTORS:
        values = torch.cat([of_batch[factor] for of_batch in seen])
        assert torch.allclose(system.model.mapping(factor).mean, values.mean(0), atol=1e-5)
        assert torch.allclose(system.moments[factor].covariance, torch.cov(values.double().T, correction=0), atol=1e-6)


def test_a_gaussian_run_resumes_bit_for_bit_is_measured_and_draws(trained_dpig: Path, people_url: str, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    shutil.copytree(trained_dpig, storage)
    further = (*GAUSSIAN, "run.updates=4", "run.checkpoint_every=2")
    run(stage_config("mapping", people_url, storage, *further))
    whole = final(storage, "gaussian")
    shutil.rmtree(storage / "gaussian" / "checkpoints" / "step-00000004")
    run(stage_config("mapping", people_url, storage, *further))
    again = final(storage, "gaussian")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert whole["moments.pose.count"] == 40
    config = stage_config("mapping", people_url, storage, *further)
    assert set(config.measures()) <= set(read_run(open_run(str(storage), "gaussian"))["evaluation"])
    model, _ = open_model("gaussian", str(storage), CPU)
    assert isinstance(model, Model)
    assert model.decode(model.sample(4, RandomSource(0, CPU))).shape == (4, 3, *SIZE)
    noise = model.noise("pose", 6, RandomSource(1, CPU))
    assert noise.std().item() == pytest.approx(1, abs=0.3)  # whatever noise_std a WGAN would have
    found, left = model.invert("pose", model.mapping("pose").draw(noise))
    assert torch.allclose(found, noise, atol=1e-3)
    assert left.max() == 0


def test_a_correlated_wgan_fits_first_and_learns_then(trained_dpig: Path, people_url: str) -> None:
    config = stage_config("mapping", people_url, trained_dpig, *CORRELATED)
    system = build_system(config, CPU, World())
    assert isinstance(system, MappingSystem)
    before = weights(system, "mappings", "critics")
    batch = first_batch(people_url)
    for _ in range(3):
        assert "wasserstein/pose" not in system.step(batch)
    assert torch.equal(before, weights(system, "mappings", "critics"))
    fitted = system.model.mapping("pose").mean.clone()
    assert torch.allclose(fitted, system.moments["pose"].mean.float())
    assert system.moments["pose"].count == 30
    scalars = system.step(batch)
    assert "wasserstein/pose" in scalars
    assert "gaussian/images" not in scalars
    assert not torch.equal(before, weights(system, "mappings", "critics"))
    assert torch.equal(system.model.mapping("pose").mean, fitted)
    assert "moments" in system.networks


@pytest.mark.parametrize("residual", [True, False])
def test_a_residual_mapping_draws_what_a_gaussian_does_before_it_learns(
    residual: bool, trained_dpig: Path, people_url: str
) -> None:
    layers = f"networks.pose={{hidden: 8, pairs: 1, critic_hidden: 8, critic_layers: 2, residual: {str(residual).lower()}}}"
    ours = build_system(stage_config("mapping", people_url, trained_dpig, *CORRELATED, layers), CPU, World())
    theirs = build_system(stage_config("mapping", people_url, trained_dpig, *GAUSSIAN), CPU, World())
    for system in (ours, theirs):
        system.step(first_batch(people_url))
    drawn = [s.model.map("pose", s.model.noise("pose", 5, RandomSource(0, CPU))) for s in (ours, theirs)]  # type: ignore[attr-defined]
    assert torch.equal(*drawn) == residual


def test_fitting_that_leaves_no_update_to_learn_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"fit_updates=64: standardise=correlated learns nothing in these, and run\.updates=64"
    ):
        resolve("dpig-people-small-mapping", ["standardise=correlated", "run.updates=64"])


def test_a_gaussian_needs_no_batch_that_is_dealt_to_critics() -> None:
    config = resolve("dpig-people-small-mapping-gaussian", ["loss.critic_updates=7"])
    assert isinstance(config, Config)
    assert config.mapping_specs == dict.fromkeys(FACTORS)


# --- variety of poses -----------------------------------------------------------------------------------------------------


def test_the_deviation_of_a_joint_is_over_poses_that_show_it() -> None:
    poses = torch.zeros(4, 18, 3)
    poses[:, :, 2] = 1
    poses[:, 0, 0] = torch.tensor([10.0, 14.0, 10.0, 14.0])
    poses[:, 1, 1] = torch.tensor([3.0, 9.0, 3.0, -1.0])
    poses[3, 1, 2] = 0
    found = joint_deviations(poses, (20, 10))
    assert found[0].item() == pytest.approx(2 / 20)
    assert found[1].item() == pytest.approx(8**0.5 / 20, rel=1e-5)
    assert found[2:].tolist() == [0] * 16
