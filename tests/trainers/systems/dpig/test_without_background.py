"""DPIG as published for DeepFashion: people without a background, through both stages and every use."""

from pathlib import Path

import pytest
import torch

from tests.trainers.systems.dpig.test_system import SIZE, first_batch
from tests.trainers.systems.people import run, stage_config
from unbraid.models.random import RandomSource
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system, figures, preview
from unbraid.trainers.systems.dpig import uses
from unbraid.trainers.systems.dpig.mapping.system import MappingSystem
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.people import People, gather_people

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
BARE = {
    "appearance": ("networks.encoder.background=0", "networks.encoder.masked=false"),
    "pose": (),
    "mapping": ("factors=[foreground,pose]", "data.batch=20", "networks.foreground.thinning=2"),
}


@pytest.fixture(scope="module")
def trained(people_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with a run of each stage."""
    storage = tmp_path_factory.mktemp("bare-runs")
    for stage, further in BARE.items():
        run(stage_config(stage, people_url, storage, "run.updates=2", *further))
    return storage


def opened(trained: Path, run_name: str = "mapping") -> tuple[Model, People]:
    model, config = open_model(run_name, str(trained), CPU)
    assert isinstance(model, Model)
    return model, gather_people(EvaluationData(config, CPU, "test").held_out(4), World())


@pytest.mark.parametrize("stage", ["appearance", "mapping"])
def test_every_measure_is_reported_but_the_backgrounds(stage: str, trained: Path, people_url: str) -> None:
    config = stage_config(stage, people_url, trained, *BARE[stage])
    scores = read_run(open_run(str(trained), stage))["evaluation"]
    assert set(config.measures()) <= set(scores)
    assert not [name for name in scores if "background" in name or name.startswith("leakage/")]


def test_pictures_and_uses_have_two_factors(trained: Path, people_url: str, tmp_path: Path) -> None:
    for stage in ("appearance", "mapping"):
        model, _ = opened(trained, stage)
        config = stage_config(stage, people_url, trained, *BARE[stage])
        data = EvaluationData(config, CPU, "test")
        drawn = {**preview(config, model, data), **figures(config, model, data, {})}
        assert drawn
        assert not [name for name in drawn if "background" in name or name == "leakage"]
    model, people = opened(trained)
    source = RandomSource(0, CPU)
    factors = model.sample(3, source)
    assert factors.background.shape == (3, 0)
    assert model.decode(factors).shape == (3, 3, *SIZE)
    assert uses.swap(model, people, "foreground").shape[0] == 3
    assert uses.sample(model, people, "all", 2, source).shape[0] == 3
    assert uses.interpolate(model, 2, model.factors, 3, source).shape[0] == 3
    assert set(uses.interpolate_people(model, people, model.factors, 3)[1]) == {"foreground", "pose"}
    assert sum(uses.export(model, tmp_path / "virtual", 2, 2, source, lambda line: None).values()) == 4


def test_the_background_is_refused_by_every_use(trained: Path) -> None:
    model, people = opened(trained)
    source = RandomSource(0, CPU)
    calls = (
        lambda: uses.swap(model, people, "background"),
        lambda: uses.sample(model, people, "background", 2, source),
        lambda: uses.interpolate(model, 2, ("background",), 3, source),
        lambda: uses.interpolate_people(model, people, ("pose", "background"), 3),
    )
    for call in calls:
        with pytest.raises(ConfigError, match=r"no background \(networks\.encoder\.background=0\).* foreground and pose; name"):
            call()


def test_a_mapping_of_a_background_that_stage_one_lacks_is_refused(trained: Path, people_url: str) -> None:
    config = stage_config("mapping", people_url, trained, "run.name=other")
    with pytest.raises(ConfigError, match=r"appearance has no background .* leave it out: factors=\[foreground,pose\]"):
        config.require_inputs()


def test_a_thinned_factor_learns_from_its_part_of_each_update(trained: Path, people_url: str) -> None:
    system = build_system(
        stage_config("mapping", people_url, trained, *BARE["mapping"], "data.augment.flip=false"), CPU, World()
    )
    assert isinstance(system, MappingSystem)
    batch = first_batch(people_url, 20)
    embeddings = system.embed(batch["image"].float(), batch["keypoints"])
    dealt = list(system._dealt(embeddings))
    assert [(len(real["foreground"]), len(real["pose"])) for real in dealt] == [(2, 4)] * 5
    assert torch.equal(dealt[1]["foreground"], embeddings["foreground"][[1, 11]])
    noise = system._noise(4)
    assert (len(noise["foreground"]), len(noise["pose"])) == (2, 4)
    assert {"wasserstein/foreground", "wasserstein/pose"} <= set(system.step(batch))


def test_a_batch_that_cannot_be_dealt_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"with networks\.pose\.thinning=3: use a multiple of 240"):
        resolve("dpig-people-small-mapping", ["networks.pose.thinning=3"])
