"""Configurations: presets, overrides, and what a mistake is told."""

from pathlib import Path

import pytest
import yaml

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.config.schema import differences
from unbraid.trainers.config.systems import load_config
from unbraid.trainers.errors import ConfigError
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
        ("run.updates=0", r"run\.updates: Input should be greater than or equal to 1 \(got 0\)"),
        ("run.updates=many", r"run\.updates: Input should be a valid integer.*'many'"),
        ("codes.categorical=[1]", "codes: a categorical code needs at least 2 classes"),
        ("codes.noise_prior=cauchy", r"codes\.noise_prior: Input should be 'uniform' or 'normal'"),
        ("run.min_workers=2", r"run\.min_workers=2 are more than run\.workers=1: lower it"),
        ("data.lanes=12", r"data\.batch=128 is not a multiple of data\.lanes=12"),
        ("run.workers=32", r"data\.lanes=16 cannot be shared by run\.workers=32"),
        ("networks.image.height=30", "does not divide 30x28"),
        ("run.name=../x", r"run\.name"),
        ("run.seed", r"expected section\.key=value"),
        ("run=3", "run: Input should be a valid dictionary"),
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
