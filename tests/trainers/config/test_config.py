"""Configurations: presets, overrides, and what a mistake is told."""

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.config.schema import SystemConfig, differences, effects
from unbraid.trainers.config.section import BUDGET, EXECUTION, Section
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.systems.infogan.config import Config


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid_and_survives_a_round_trip(preset: str) -> None:
    configs = list(resolve_pipeline(preset).values()) if is_pipeline(preset) else [resolve(preset)]
    for config in configs:
        assert load_config(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_reference_preset_is_the_table_of_the_paper() -> None:
    config = resolve("infogan-mnist-reference")
    assert isinstance(config, Config)
    assert (config.codes.noise, config.codes.categorical, config.codes.continuous) == (62, (10,), 2)
    assert (config.optim.lr_generator, config.optim.lr_discriminator, config.optim.betas) == (1e-3, 2e-4, (0.5, 0.999))
    assert (config.data.batch, config.run.updates) == (128, 5000)


def test_later_overrides_win_and_are_typed() -> None:
    config = resolve("infogan-mnist", ["run.seed=1", "run.seed=2", "codes.categorical=[10,10]", "optim.lr_generator=5e-4"])
    assert isinstance(config, Config)
    assert config.run.seed == 2
    assert config.codes.categorical == (10, 10)
    assert config.optim.lr_generator == 5e-4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.info_categrical=1", r"loss\.info_categrical: unknown key .*did you mean loss\.info_categorical"),
        ("codes.categrical=[10]", r"codes\.categrical: unknown key .*did you mean codes\.categorical"),
        ("lr=1", "lr: unknown key"),
        ("networks.trunk.width=3", r"networks\.trunk\.width: unknown key"),
        ("run.updates=0", r"run\.updates: expected 1 or more \(got 0\)"),
        ("run.updates=many", r"run\.updates: expected a whole number.*'many'"),
        ("codes.categorical=[1]", "codes: a categorical code needs at least 2 classes"),
        ("codes.noise_prior=cauchy", r"codes\.noise_prior: expected 'uniform' or 'normal'"),
        ("run.min_workers=2", r"run\.min_workers=2 are more than run\.workers=1: lower it"),
        ("data.lanes=12", r"data\.batch=128 is not a multiple of data\.lanes=12"),
        ("run.workers=32", r"data\.lanes=16 cannot be shared by run\.workers=32"),
        ("networks.image.height=30", "does not divide 30x28"),
        ("run.name=../x", r"run\.name: expected letters, digits, dots, dashes and underscores, .* at most 100 in all"),
        ("run.seed", r"expected section\.key=value"),
        ("run=3", "run: expected a section of keys"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve("infogan-mnist", [override])


def test_codes_that_no_head_can_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="Q has nothing to predict"):
        resolve("infogan-mnist", ["codes.categorical=[]", "codes.continuous=0"])


def test_a_misspelt_preset_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"preset 'infogan-mnst': no such preset \(did you mean infogan-mnist\?\)"):
        resolve("infogan-mnst")


def test_a_foreign_config_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for text, message in [
        ("[1, 2]", "expected a mapping"),
        ("a: [", "not YAML"),
        ("system: gan", "'gan' is not one of .*infogan"),
    ]:
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            resolve(None, config_file=file)
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve(None, config_file=tmp_path / "none.yaml")


def test_the_same_command_names_the_same_run() -> None:
    first, again, other = (resolve("infogan-mnist", [f"run.seed={seed}"]) for seed in (0, 0, 1))
    assert first.run.name == again.run.name != other.run.name
    where = resolve("infogan-mnist", ["run.storage=s3://bucket/runs", "run.log_every=7", "run.workers=2"])
    assert where.run.name == first.run.name


def test_differences_are_listed_by_dotted_key() -> None:
    a, b = resolve("infogan-mnist", ["run.name=a"]), resolve("infogan-mnist", ["run.name=a", "loss.info_continuous=0.1"])
    assert differences(a, b) == {"loss.info_continuous": (1.0, 0.1)}


@pytest.mark.parametrize(
    ("override", "names_the_run"),
    [("run.seed=3", True), ("loss.info_continuous=0.3", True), ("data.window=9", True), ("run.updates=77", True),
     ("run.workers=2", False), ("run.storage=elsewhere", False), ("data.cache_gb=3", False), ("run.labels=false", False)],
)  # fmt: skip
def test_a_run_is_named_after_what_is_learnt_and_for_how_long(override: str, names_the_run: bool) -> None:
    changed = resolve("infogan-mnist", [override]).digest() != resolve("infogan-mnist").digest()
    assert changed == names_the_run


@pytest.mark.parametrize(
    ("override", "goes_on"),
    [("run.seed=3", False), ("optim.lr_generator=0.1", False), ("run.updates=77", True), ("run.workers=2", True)],
)
def test_a_run_goes_on_with_another_budget_or_elsewhere_and_not_with_another_lesson(
    override: str, goes_on: bool, digits_folder: Path, tmp_path: Path
) -> None:
    base = [f"data.url={digits_folder}", f"run.storage={tmp_path}", "run.name=mine"]
    preflight(resolve("infogan-mnist", base), "test").put("metrics.jsonl", b'{"step": 10}\n')  # it has learnt something
    if goes_on:
        preflight(resolve("infogan-mnist", [*base, override]), "test")
        return
    with pytest.raises(ConfigError, match=rf"another configuration:\n  {re.escape(override.partition('=')[0])}: "):
        preflight(resolve("infogan-mnist", [*base, override]), "test")


def test_effects_are_of_every_section_and_only_where_they_are_marked() -> None:
    class Knobs(Section):
        knob: Annotated[int, EXECUTION] = 1
        lesson: int = 2

    class Mine(SystemConfig):
        system: Literal["infogan"] = "infogan"
        own: Knobs = Knobs()

    found = effects(Mine)
    assert found["own.knob"] == EXECUTION
    assert found["run.updates"] == BUDGET
    assert not {"own.lesson", "own", "run.seed", "data.url"} & set(found)
    assert Mine(own=Knobs(knob=5)).digest() == Mine().digest()
    assert Mine(own=Knobs(lesson=5)).digest() != Mine().digest()


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        ("infogan-mnist", "run.patience_minutes=3", r"run\.patience_minutes: .* called run\.storage_retry_minutes now"),
        ("infogan-mnist", "run.silence_seconds=3", r"run\.silence_seconds: .* called run\.worker_timeout_seconds now"),
        ("dpig-people-small-appearance", "optim.lr_painter=3", r"optim\.lr_painter: .* called optim\.lr_generator now"),
        ("dpig-people-small-appearance", "networks.critic={}", r"networks\.critic: .* called networks\.discriminator now"),
    ],
)
def test_a_key_that_was_renamed_is_refused_with_its_present_name(preset: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(preset, [override])


def test_a_renamed_key_in_a_file_is_refused_with_the_files_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: infogan-mnist\nrun: {patience_minutes: 3}\n")
    with pytest.raises(ConfigError, match=r"run\.patience_minutes: in mine\.yaml: .* called run\.storage_retry_minutes now"):
        resolve(None, config_file=file)


def test_workers_that_wait_for_each_other_less_than_for_the_storage_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"run\.collective_minutes=5 must be larger than run\.storage_retry_minutes=10"):
        resolve("infogan-mnist", ["run.collective_minutes=5", "run.workers=2"])
    resolve("infogan-mnist", ["run.collective_minutes=5", "run.workers=1"])
