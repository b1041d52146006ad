"""CDD: who learns from what, that it learns, and what is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.pairs import TEST, cdd_config
from tests.trainers.systems.people import run
from unbraid.datasets.stream.stream import SampleStream
from unbraid.models.cdd.translators import Parts, Translation
from unbraid.models.domains import DOMAINS
from unbraid.models.random import RandomSource
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import CheckpointError, ConfigError
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.paired.digits import ink_of
from unbraid.trainers.paired.pairs import held_out
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.cdd.config import Config
from unbraid.trainers.systems.cdd.losses import loss_terms
from unbraid.trainers.systems.cdd.sheets import (
    translation_sheet,
)
from unbraid.trainers.systems.cdd.system import CDD

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
SWITCHED_OFF = ["shared", "latent", "prior", "image", "exclusive", "autoencoder"]


def system_of(url: str, storage: Path, *further: str) -> CDD:
    system = build_system(cdd_config(url, storage, *further), CPU, World())
    assert isinstance(system, CDD)
    return system


def first_batch(url: str, batch: int = 16) -> dict[str, Tensor]:
    with SampleStream(url, "train", batch=batch, lanes=2, window=40, seed=0) as stream:
        return dict(next(stream))


def weights(system: CDD, name: str) -> Tensor:
    return torch.cat([p.detach().flatten() for p in system.networks[name].parameters()]).clone()


# --- updates --------------------------------------------------------------------------------------------------------------


def test_translators_and_critics_change_their_own_weights_only(pairs_url: str, tmp_path: Path) -> None:
    system = system_of(pairs_url, tmp_path)
    images = system.training_pairs(first_batch(pairs_url))
    translation = system._translate(system.translators, images)
    translators, critics = weights(system, "translators"), weights(system, "critics")
    system._update_critics(images, translation)
    assert torch.equal(translators, weights(system, "translators"))
    assert not torch.equal(critics, weights(system, "critics"))
    critics = weights(system, "critics")
    system._update_translators(images, translation)
    assert torch.equal(critics, weights(system, "critics"))
    assert not torch.equal(translators, weights(system, "translators"))


def test_slip_each_direction_draws_its_own_noise(pairs_url: str, tmp_path: Path) -> None:
    """The reference code uses one z for both directions."""
    noises = system_of(pairs_url, tmp_path)._noises(500)
    both = torch.corrcoef(torch.stack([noises.exclusive["x"].flatten(), noises.exclusive["y"].flatten()]))
    assert abs(both[0, 1].item()) < 0.1
    for of_domain in (noises.translation, noises.reconstruction):
        assert of_domain["x"] is not None
        assert of_domain["x"].std().item() == pytest.approx(0.1, rel=0.05)
    again = system_of(pairs_url, tmp_path, "networks.parts.noise_std=0")._noises(5)
    assert again.translation == again.reconstruction == {"x": None, "y": None}


def test_losses_are_those_of_the_paper() -> None:
    """Every term computed by hand, from parts and images that differ by known amounts."""

    def parts(shared: float, exclusive: float) -> Parts:
        return Parts(torch.full((2, 3, 8, 8), shared), torch.full((2, 4), exclusive))

    def image(value: float) -> Tensor:
        return torch.full((2, 3, 16, 16), value)

    translation = Translation(
        drawn={"x": torch.full((2, 4), 0.1), "y": torch.full((2, 4), -0.3)},
        parts={"x": parts(1.0, 0), "y": parts(1.5, 0)},
        fake={"x": image(0), "y": image(0)},
        fake_parts={"x": parts(1.6, 0.2), "y": parts(0.7, 0.3)},  # of y's S with the first z; of x's S with the second
        rebuilt={"x": image(0.5), "y": image(-0.25)},
        excluded={},
    )
    terms = loss_terms({"x": image(0.25), "y": image(0.75)}, translation)
    expected = {
        "shared": 0.5, "norm": 0.5**2, "latent_shared": 0.1 + 0.3, "latent_exclusive": 0.1 + 0.6, "autoencoder": 0.25 + 1.0,
    }  # fmt: skip
    assert {name: term.item() for name, term in vars(terms).items()} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", SWITCHED_OFF)
def test_a_loss_can_be_switched_off_and_nothing_idle_is_left(name: str, pairs_url: str, tmp_path: Path) -> None:
    """Every weight that is there gets a gradient, or DDP would wait for it; what only that loss needs is not there."""
    system = system_of(pairs_url, tmp_path, f"loss.{name}=0")
    scalars = system.step(first_batch(pairs_url))
    for network in ("translators", "critics"):
        assert all(p.grad is not None for p in system.networks[network].parameters())
    assert not any(scalar.startswith(f"wasserstein/{name}") for scalar in scalars)
    assert ("loss/autoencoder" in scalars) == (name != "autoencoder")
    assert ("loss/latent_shared" in scalars) == (name != "latent")
    assert (len(system.translators.network.exclusive_decoders) == 0) == (name == "exclusive")


def test_the_prior_can_be_reconstruction_and_all_critics_can_go(pairs_url: str, tmp_path: Path) -> None:
    off = ["loss.prior_kind=reconstruction", "loss.image=0", "loss.exclusive=0", "loss.latent=0"]
    system = system_of(pairs_url, tmp_path, *off)
    scalars = system.step(first_batch(pairs_url))
    assert system.critics is None
    assert list(system.optimizers) == ["translators"]
    assert "loss/latent_exclusive" in scalars
    loss = system.config.loss
    assert (loss.latent, loss.prior_reconstruction, loss.prior_gan) == (0, 1, 0)


def test_one_seed_decides_everything(pairs_url: str, tmp_path: Path) -> None:
    def losses(seed: int) -> list[dict[str, float]]:
        system = system_of(pairs_url, tmp_path, f"run.seed={seed}", "networks.translator.dropout=0.5")
        batch = first_batch(pairs_url)
        return [{name: value.item() for name, value in system.step(batch).items()} for _ in range(3)]

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)


def test_a_pair_is_moved_together(pairs_url: str, tmp_path: Path) -> None:
    system = system_of(pairs_url, tmp_path, "data.augment.flip=true", "data.augment.crop=3")
    batch = first_batch(pairs_url)
    images = system.training_pairs(batch)
    plain = system_of(pairs_url, tmp_path).training_pairs(batch)
    assert not torch.equal(images["x"], plain["x"])
    ink = {d: ink_of(unit_range(images[d]), d) for d in DOMAINS}
    assert (ink["x"] - ink["y"]).abs().max() < 0.02  # bytes are rounded


@pytest.mark.slow
def test_it_learns_to_share_and_to_rebuild(pairs_url: str, tmp_path: Path) -> None:
    run(cdd_config(pairs_url, tmp_path, "run.updates=150", "run.checkpoint_every=0", "run.log_every=10"))
    store = open_run(str(tmp_path), "cdd")
    lines = [line for line in read_metrics(store) if "loss/autoencoder" in line]
    assert lines[-1]["loss/autoencoder"] < 0.6 * lines[0]["loss/autoencoder"]
    scores = read_run(store)["evaluation"]
    assert scores["retrieval/shared_recall_1"] > 0.5  # chance is 1 / TEST
    assert scores["retrieval/exclusive_recall_1"] < 5 / TEST


@pytest.mark.usefixtures("unmeasured")
def test_a_run_resumes_bit_for_bit(pairs_url: str, tmp_path: Path) -> None:
    config = cdd_config(pairs_url, tmp_path, "run.updates=4", "run.checkpoint_every=2", "networks.translator.dropout=0.5")
    run(config)
    whole = final(tmp_path)
    for folder in (tmp_path / "cdd" / "checkpoints").iterdir():
        if int(folder.name.removeprefix("step-")) == 4:
            shutil.rmtree(folder)
    run(config)
    again = final(tmp_path)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def final(storage: Path) -> dict[str, Tensor]:
    state = Checkpoints(open_run(str(storage), "cdd"), keep=2).load()
    assert state is not None
    return {f"{n}.{k}": v for n, network in state["networks"].items() for k, v in network.items()}


# --- refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["networks.parts.exclusive=0"], r"networks\.parts: exclusive must be at least 1, got 0: without that part"),
        (["networks.parts.shared=0"], r"networks\.parts: shared must be at least 1, got 0"),
        (
            ["networks.image={channels: 3, height: 48, width: 48}"],
            "image is 48x48; S is 8x8, so that images must be squares of",
        ),
        (["networks.image.width=64"], "image is 32x64; S is 8x8"),
        (["networks.critic.channels=[4, 4, 4, 4, 4, 4]"], r"networks\.critic changes the image by a factor of 64"),
        (["networks.critic.channels=[]"], "channels must name at least one layer"),
        (["networks.translator.dropout=1"], "dropout must be in"),
        (["loss.critic_updates=3"], r"not to be dealt to loss\.critic_updates=3: use a multiple"),
        (["loss.autoencoder=0", "loss.image=0", "loss.latent=0"], "leaves the decoders nothing to learn from"),
        ([f"loss.{n}=0" for n in ("autoencoder", "latent", "prior", "exclusive")], "leaves E nothing to learn from"),
        (["data.augment.brightness=0.1"], "colours of X and Y would change by themselves"),
        (["loss.shared=-1"], "expected 0 or more"),
    ],
)
def test_configurations_that_cannot_run_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve("cdd-mnist-cdcb-small", overrides)


def test_a_set_without_pairs_or_of_another_size_is_refused(digits_folder: Path, pairs_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"have no x and no y \(only image, label\), which cdd needs"):
        preflight(cdd_config(str(digits_folder), tmp_path), "test")
    larger = ["networks.image={channels: 3, height: 64, width: 64}"]
    with pytest.raises(ConfigError, match=r"\(3, 64, 64\) does not fit the xs at .*, which are \(3, 32, 32\)"):
        preflight(cdd_config(pairs_url, tmp_path, *larger), "test")
    assert not (tmp_path / "cdd").exists()


def test_a_checkpoint_of_another_size_is_refused(trained_cdd: Path, pairs_url: str, tmp_path: Path) -> None:
    shutil.copytree(trained_cdd, tmp_path / "runs")
    with pytest.raises(ConfigError, match=r"networks\.parts\.exclusive"):  # the run's name is taken by another configuration
        preflight(cdd_config(pairs_url, tmp_path / "runs", "networks.parts.exclusive=5"), "test")
    config = tmp_path / "runs" / "cdd" / "config.yaml"
    config.write_text(config.read_text().replace("exclusive: 4", "exclusive: 5"))
    with pytest.raises(CheckpointError, match="translators_ema does not fit this configuration"):
        open_model("cdd", str(tmp_path / "runs"), CPU)


def test_both_directions_are_one_checkpoint(trained_cdd: Path, pairs_url: str) -> None:
    model, config = open_model("cdd", str(trained_cdd), CPU, ("cdd",))
    assert isinstance(config, Config)
    pairs = held_out(config, CPU, "test", 3)
    sheets = [translation_sheet(model, pairs.images[d], d, 2, RandomSource(0, CPU)) for d in DOMAINS]
    assert sheets[0].shape == sheets[1].shape
    assert not torch.equal(*sheets)
