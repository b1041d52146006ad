"""Presets of the user's own, in the folder that UNBRAID_PRESETS names."""

import re
from pathlib import Path

import pytest

from tests.cluster.test_cli import unbraid
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline
from unbraid.trainers.config.presets import FOLDER_VARIABLE, SHIPPED, all_presets, preset_names, read_preset
from unbraid.trainers.errors import ConfigError


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with one preset in it."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "mine.yaml").write_text("# My digits.\nextends: infogan-mnist\nrun: {updates: 7}\n")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def shipped_names() -> list[str]:
    return sorted(path.name.removesuffix(".yaml") for path in Path(str(SHIPPED)).glob("*.yaml"))


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_there_are_the_shipped_presets(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(FOLDER_VARIABLE, value)
    assert preset_names() == shipped_names()


def test_a_new_file_is_a_new_preset_and_extends_a_shipped_one(own: Path) -> None:
    assert preset_names() == sorted([*shipped_names(), "mine"])
    config = resolve("mine")
    assert config.run.updates == 7
    assert config.data == resolve("infogan-mnist").data
    assert str(config.run.name).startswith("mine-")


def test_the_users_preset_is_taken_before_the_shipped_one_everywhere(own: Path) -> None:
    (own / "infogan-mnist.yaml").write_text("extends: infogan-mnist\nrun: {seed: 5}\n")
    assert resolve("infogan-mnist").run.seed == 5
    assert resolve("infogan-mnist").run.updates != 7
    assert (resolve("mine").run.seed, resolve("mine").run.updates) == (5, 7)


def test_a_shipped_preset_extends_the_users_one_of_that_name(own: Path) -> None:
    (own / "cdd-mnist-cdcb-small.yaml").write_text("extends: cdd-mnist-cdcb-small\nrun: {seed: 5}\n")
    assert resolve("cdd-mnist-cdcb-small-norm").run.seed == 5


def test_a_preset_that_extends_its_own_name_extends_the_shipped_one(own: Path) -> None:
    shipped = read_preset("infogan-mnist-plain")
    (own / "infogan-mnist-plain.yaml").write_text("extends: infogan-mnist-plain\n")
    assert read_preset("infogan-mnist-plain") == shipped


def test_a_mounted_config_map_is_read(own: Path) -> None:
    """As a kubelet lays it out: a hidden folder named after the time, a link to it, and a link for each key."""
    mine = (own / "mine.yaml").read_text()
    (own / "mine.yaml").unlink()
    (own / "..2026_01_01").mkdir()
    (own / "..2026_01_01" / "mine.yaml").write_text(mine)
    (own / "..data").symlink_to("..2026_01_01")
    (own / "mine.yaml").symlink_to("..data/mine.yaml")
    (own / ".hidden.yaml").write_text("nothing: here")
    assert preset_names() == sorted([*shipped_names(), "mine"])
    assert resolve("mine").run.updates == 7


def test_files_of_other_kinds_are_left_alone(own: Path) -> None:
    (own / "README.md").write_text("what these are for")
    assert preset_names() == sorted([*shipped_names(), "mine"])


def test_own_pipelines_name_own_and_shipped_presets(own: Path) -> None:
    (own / "both.yaml").write_text("pipeline: {first: {preset: mine}, second: {preset: infogan-mnist}}\n")
    assert is_pipeline("both")
    stages = resolve_pipeline("both", ["second.run.updates=9"])
    assert {name: config.run.updates for name, config in stages.items()} == {"first": 7, "second": 9}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not YAML"),
        ("", "expected a mapping of sections, found an empty file"),
        ("extends: infogan-mnits", r"preset 'infogan-mnits': no such preset \(did you mean infogan-mnist\?\)"),
        ("extends: [mine]", r"extends: expected the name of a preset, found \['mine'\]"),
        ("extends: bad", r"preset bad \(.*bad\.yaml\): extends itself \(bad extends bad\)"),
        ("extends: infogan-mnist\nrun: {update: 3}", r"run\.update: unknown key in preset bad .*did you mean run\.updates"),
        ("extends: infogan-mnist\nrun: {updates: many}", r"preset bad .*run\.updates: expected a whole number"),
        ("pipeline: 3", "pipeline: expected STAGE: {preset: NAME} for each stage, found 3"),
        ("pipeline: {a: mine}", r"pipeline\.a: expected {preset: NAME} and, if need be, starts_from, found 'mine'"),
        ("pipeline: {a: {preset: mine, start: b}}", r"pipeline\.a: expected {preset: NAME}"),
        ("pipeline: {a: {preset: mine, starts_from: {run.name: b}}}", r"pipeline\.a\.starts_from: .*none, this is"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_error_that_names_it(own: Path, content: str, message: str) -> None:
    (own / "bad.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message) as raised:
        resolve_pipeline("bad") if content.startswith("pipeline") else resolve("bad")
    assert str(own / "bad.yaml") in str(raised.value)
    assert resolve("mine").run.updates == 7  # a file that is not asked for stops nothing


def test_presets_that_extend_each_other_are_refused(own: Path) -> None:
    (own / "one.yaml").write_text("extends: two")
    (own / "two.yaml").write_text("extends: one")
    with pytest.raises(ConfigError, match=r"preset one \(.*one\.yaml\): extends itself \(one extends two extends one\)"):
        read_preset("one")


@pytest.mark.parametrize("name", ["mine.yml", "my digits.yaml", "_mine.yaml"])
def test_a_file_name_that_no_preset_can_have_is_refused(own: Path, name: str) -> None:
    (own / name).touch()
    with pytest.raises(ConfigError, match=re.escape(f"{own / name}: not the file name of a preset; rename it to NAME.yaml")):
        resolve("mine")


def test_bytes_that_are_no_text_are_refused(own: Path) -> None:
    (own / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"preset bad \(.*bad\.yaml\): line 1, column 1: is not text in UTF-8"):
        resolve("bad")


def test_a_preset_that_is_a_folder_is_refused(own: Path) -> None:
    (own / "bad.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"preset bad \(.*bad\.yaml\): cannot be read \(Is a directory\)"):
        resolve("bad")


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_refused(own: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(own / "mine.yaml" if kind == "file" else own / "nowhere"))
    with pytest.raises(ConfigError, match=rf"UNBRAID_PRESETS={own}.*cannot be read .*expected a folder of presets"):
        resolve("infogan-mnist")


def test_a_name_that_is_unknown_says_where_own_presets_are_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="UNBRAID_PRESETS may name a folder of your own"):
        resolve("mine")


def test_the_list_marks_the_users_presets(own: Path) -> None:
    (own / "infogan-mnist.yaml").write_text("extends: infogan-mnist\n")
    result = unbraid("presets")
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert lines.keys() == all_presets().keys()
    assert lines["mine"].endswith("My digits. [yours]")
    assert lines["infogan-mnist"].endswith("[yours, in place of the shipped one]")
    assert "[yours" not in lines["infogan-mnist-plain"]
