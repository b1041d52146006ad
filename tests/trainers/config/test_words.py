"""Values that people type into overrides, presets and files: each is what was meant, or one error that says what to write."""

from pathlib import Path

import pytest

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.words import LONGEST_NAME
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.reading import parse_campaign


def infogan(*overrides: str) -> SystemConfig:
    return resolve("infogan-mnist", overrides)


def value(override: str) -> object:
    found: object = infogan(override)
    for key in override.partition("=")[0].split("."):
        found = getattr(found, key)
    return found


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("run.updates=1e3", 1000),
        ("run.updates=010", 10),
        ("run.updates=+7", 7),
        ("optim.lr_generator=1e-3", 1e-3),
        ("optim.lr_generator=.001", 1e-3),
        ("data.augment.flip=yes", True),
        ("data.augment.flip=on", True),
        ("data.augment.flip=no", False),
        ("run.name=123", "123"),
        ("run.name=010", "010"),
        ("run.name=1e3", "1e3"),
        ("run.name=yes", "yes"),
        ("run.name=true", "true"),
        ("run.name=2026-11-28", "2026-11-28"),
        ("data.split=1:30", "1:30"),
        ("data.split=0x10", "0x10"),
        ("data.test_split=null", None),
        ("data.test_split=~", None),
        ("data.test_split=2024", "2024"),
        ("codes.categorical=10,10", (10, 10)),
        ("codes.categorical=[10, 10]", (10, 10)),
        ("run.evaluate_at=1e2,200", (100, 200)),
        ("optim.betas=0.5,0.99", (0.5, 0.99)),
        ("data.fit=32,16", (32, 16)),
    ],
)
def test_a_value_is_what_its_field_says(override: str, meant: object, tmp_path: Path) -> None:
    assert value(override) == meant
    assert type(value(override)) is type(meant)
    keys, _, text = override.partition("=")
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(keys.split("."))]
    file = tmp_path / "mine.yaml"
    file.write_text("extends: infogan-mnist\n" + "\n".join(lines) + f" {text}\n")
    config: object = resolve(None, config_file=file)
    for key in keys.split("."):
        config = getattr(config, key)
    assert config == meant, "a file means what the command line means"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.updates=1:30", "run.updates: expected a whole number (got '1:30')"),
        ("run.updates=1.5", "run.updates: expected a whole number (got 1.5)"),
        ("run.updates=yes", "run.updates: expected a whole number (got 'yes')"),
        ("run.updates=2024-01-01", "run.updates: expected a whole number (got '2024-01-01')"),
        ("run.seed=18446744073709551616", "run.seed: expected less than 9223372036854775808 (got 18446744073709551616)"),
        ("optim.lr_generator=.inf", "optim.lr_generator: expected a finite number (got inf)"),
        ("run.minutes=.nan", "run.minutes: expected a finite number (got nan)"),
        ("optim.betas=[0.5, .inf]", "optim.betas.1: expected a finite number (got inf)"),
        ("codes.categorical=10", "codes.categorical: expected a list, such as [10, 10] (got 10)"),
        ("run.evaluate_at=[-5]", "run.evaluate_at.0: expected more than 0 (got -5)"),
        ("run.labels=maybe", "run.labels: expected true or false (got 'maybe')"),
        ("data.split=[a]", "data.split: expected a text (got ['a'])"),
        ("data.split={a: 1}", "data.split: expected a text"),
        ("run.name=" + "x" * (LONGEST_NAME + 1), "run.name: expected letters, digits, dots, dashes and underscores"),
        ("run.name=.hidden", "run.name: expected letters, digits, dots, dashes and underscores"),
        ("codes.categorical=[10", "codes.categorical: '[10' is not a YAML value (line 1, column 4: "),
        ("optim={betas: [0, 1], betas: [0, 1]}", "the key 'betas' comes twice; keep one of them"),
        ("RUN.UPDATES=5", "RUN: unknown key in command line (did you mean run.updates?)"),
        ("Run={updates: 5}", "Run: unknown key in command line (did you mean run.updates?)"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_expected(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        infogan(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_section_that_is_given_keeps_what_it_does_not_name() -> None:
    before, after = infogan(), infogan("optim={lr_generator: 5e-4}", "networks={trunk: {slope: 0.3}}")
    assert after.optim.lr_generator == 5e-4  # type: ignore[attr-defined]
    assert after.optim.betas == before.optim.betas  # type: ignore[attr-defined]
    assert after.networks.trunk.slope == 0.3  # type: ignore[attr-defined]
    assert after.networks.trunk.layers == before.networks.trunk.layers != ()  # type: ignore[attr-defined]


def test_a_preset_that_is_not_there_is_answered_with_the_nearest_and_no_list() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("INFOGAN-MNIST")
    assert "did you mean infogan-mnist?" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"run: {updates: 5}\n",
            "mine.yaml: names no `system`; expected a run's config.yaml, or a file with `extends: PRESET`",
        ),
        (b"", "mine.yaml: expected a mapping of sections, found an empty file"),
        (b"- 1\n", "mine.yaml: expected a mapping of sections, found a list"),
        (b"extends: infogan-mnist\nrun:\n  updates: 5\n  seed: 1\n  updates: 6\n", "mine.yaml: not YAML (line 5, column 3: "),
        (b"extends: infogan-mnist\nrun:\n  name: caf\xe9\n", "mine.yaml: not YAML (line 3, column 12: is not text in UTF-8"),
        ("extends: infogan-mnist\n".encode("utf-16"), "mine.yaml: not YAML (line 1, column 1: is not text in UTF-8"),
        (b"extends: infogan-mnist\nrun: {updates: {a: 1}}\n", "run.updates: expected a whole number"),
    ],
)
def test_a_file_that_is_none_is_one_error_with_its_place(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        resolve(None, config_file=file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbfextends: infogan-mnist\nrun: {updates: 1e2}\n")
    assert resolve(None, config_file=file).run.updates == 100


CAMPAIGN = """
name: {name}
preset: infogan-mnist-small
space: {{loss.info_continuous: {dimension}}}
objectives: [{{metric: info/categorical_0_share}}]
budget: {{trials: 4}}
"""


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ("{choice: []}", "space.loss.info_continuous.choice: expected 1 values or more (got [])"),
        ("{uniform: [2, 1]}", "space.loss.info_continuous.uniform: bounds 2 and 1: the first must be less than the second"),
        ("{log_uniform: [0, 1]}", "log_uniform starts at 0: a logarithm needs more than 0"),
        ("{integer: [1.5, 3]}", "space.loss.info_continuous.integer.0: expected a whole number (got 1.5)"),
        ("{uniform: [0, .inf]}", "space.loss.info_continuous.uniform.1: expected a finite number (got inf)"),
        ("{uniform: 3}", "space.loss.info_continuous.uniform: expected a list, such as [10, 10] (got 3)"),
        ("{uniform: [0, 1], step: 2}", "space.loss.info_continuous.uniform.step: unknown key (got 2)"),
        ("{}", "loss.info_continuous: expected one of uniform, log_uniform, integer, choice"),
    ],
)
def test_a_space_that_is_empty_or_upside_down_is_one_line(dimension: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_campaign(CAMPAIGN.format(name="mine", dimension=dimension), "mine.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_campaign_reads_values_as_a_configuration_does() -> None:
    text = CAMPAIGN.format(name="010", dimension="{uniform: [1e-1, 1e0]}")
    campaign = parse_campaign(text, "mine.yaml", ["budget={minutes: 1e1}", "keep=02"])
    assert campaign.name == "010"
    assert campaign.space["loss.info_continuous"].extremes == [0.1, 1.0]
    assert (campaign.budget.trials, campaign.budget.minutes, campaign.keep) == (4, 10, 2)
