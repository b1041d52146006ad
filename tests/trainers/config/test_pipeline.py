"""Several stages as one command: whose override is whose, and what starts from what."""

import pytest

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.systems.dpig.mapping.config import Config as MappingConfig

PIPELINES = [name for name in preset_names() if is_pipeline(name)]


@pytest.mark.parametrize("preset", PIPELINES)
def test_the_last_stage_starts_from_the_runs_of_the_first(preset: str) -> None:
    stages = resolve_pipeline(preset)
    assert list(stages) == ["appearance", "pose", "mapping"]
    mapping = stages["mapping"]
    assert isinstance(mapping, MappingConfig)
    assert mapping.stages.appearance == stages["appearance"].run.name
    assert mapping.stages.pose == stages["pose"].run.name
    assert len({config.image_shape for config in stages.values()}) == 1
    assert len({config.data.url for config in stages.values()}) == 1


def test_an_override_is_for_all_stages_or_for_one() -> None:
    stages = resolve_pipeline("dpig-people-small", ["run.seed=3", "pose.run.updates=7"])
    assert {config.run.seed for config in stages.values()} == {3}
    assert stages["pose"].run.updates == 7
    assert stages["mapping"].run.updates != 7


def test_runs_are_named_after_the_pipeline_and_what_they_learn() -> None:
    names = [[str(s.run.name) for s in resolve_pipeline("dpig-people-small", o).values()] for o in ([], [], ["run.seed=1"])]
    assert names[0] == names[1]
    assert set(names[0]).isdisjoint(names[2])
    assert [n.rsplit("-", 1)[0] for n in names[0]] == [f"dpig-people-small-{s}" for s in ("appearance", "pose", "mapping")]
    given = [s.run.name for s in resolve_pipeline("dpig-people-small", ["run.name=mine"]).values()]
    assert given == ["mine-appearance", "mine-pose", "mine-mapping"]


def test_changing_an_early_stage_renames_the_later_ones() -> None:
    """A mapping that was learnt on another appearance is another run."""
    before, after = (
        [str(s.run.name) for s in resolve_pipeline("dpig-people-small", o).values()]
        for o in ([], ["appearance.loss.reconstruction=10"])
    )
    assert before[0] != after[0]
    assert before[1] == after[1]
    assert before[2] != after[2]


def test_a_mistake_names_its_stage() -> None:
    with pytest.raises(ConfigError, match=r"stage appearance: loss\.clip: unknown key(?s:.*)STAGE\.key=value"):
        resolve_pipeline("dpig-people-small", ["loss.clip=1"])
    with pytest.raises(ConfigError, match=r"stage pose: run\.updates: expected 1 or more"):
        resolve_pipeline("dpig-people-small", ["pose.run.updates=0"])


def test_a_pipeline_is_no_single_run() -> None:
    with pytest.raises(ConfigError, match="is a pipeline of several runs; here one is meant, such as dpig-people-small-app"):
        resolve("dpig-people-small")
