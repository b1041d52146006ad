"""The command line as a user meets it: help with examples, quick answers, one clear error a mistake."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import FOLDER_VARIABLE


def commands_of(group: click.Group, name: str) -> Iterator[str]:
    """All paths of words that name a group or a command."""
    yield name
    context = click.Context(group)
    for inner in group.list_commands(context):
        command = group.get_command(context, inner)
        path = f"{name} {inner}".strip()
        if isinstance(command, click.Group):
            yield from commands_of(command, path)
        else:
            yield path


COMMANDS = sorted(commands_of(main, ""))


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command: str) -> None:
    result = unbraid(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "unbraid " in result.output.split("Example", 1)[1]


def test_commands_of_every_depth_are_among_them() -> None:
    assert {"", "train", "jobs retry", "data pack", "generate dpig export", "tune export", "local up"} <= set(COMMANDS)


def test_presets_are_listed_with_what_they_are() -> None:
    result = unbraid("presets")
    assert "infogan-mnist-reference" in result.output
    assert "ablation" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "name a preset"),
        (["train", "infogan-mnst"], "did you mean infogan-mnist?"),
        (["train", "infogan-mnist", "loss.info_categrical=1"], "did you mean loss.info_categorical?"),
        (["train", "infogan-mnist", "run.workers=17"], "each owns one at least; raise data.lanes"),
        (["train", "infogan-mnist", "run.workers=2", "--debug", "data.url=nowhere"], "nowhere"),
        (["eval", "no-such-run", "--storage", "nowhere"], "no run 'no-such-run' in nowhere, a folder that is not there"),
        (["data", "pack", "mnist", "nowhere", "out"], "train-images-idx3-ubyte: no such file"),
        (["data", "inspect", "nowhere"], "unbraid data pack"),
    ],
)
def test_a_mistake_is_one_message_and_status_one(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    result = unbraid(*arguments)
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert isinstance(result.exception, SystemExit)


def test_debug_with_several_workers_is_refused(digits_url: str, tmp_path: Path) -> None:
    arguments = ["train", "infogan-mnist", "run.workers=2", f"data.url={digits_url}", f"run.storage={tmp_path}", "--debug"]
    result = unbraid(*arguments)
    assert result.exit_code == 1
    assert "--debug trains in this process alone" in result.output


def test_missing_bucket_and_wrong_keys_are_reported_before_training(
    services: object, digits_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"run.storage={tmp_path}"
    result = unbraid("train", "infogan-mnist", "data.url=s3://no-such-bucket/mnist", storage, "--debug")
    assert result.exit_code == 1
    assert "there is no bucket 'no-such-bucket'" in result.output
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    result = unbraid("train", "infogan-mnist", f"data.url={digits_url}", storage, "run.name=wrong-keys", "--debug")
    assert result.exit_code == 1
    assert "S3 refused the keys" in result.output


def test_dry_run_prints_a_config_that_repeats_the_run(tmp_path: Path) -> None:
    first = unbraid("train", "infogan-mnist", "run.seed=3", "codes.categorical=[10, 10]", "--dry-run")
    assert first.exit_code == 0
    (tmp_path / "config.yaml").write_text(first.output)
    again = unbraid("train", "--config", str(tmp_path / "config.yaml"), "--dry-run")
    assert again.output == first.output


@pytest.mark.slow
def test_debug_trains_from_the_command_line(digits_url: str, tmp_path: Path) -> None:
    overrides = ["data.batch=32", "data.lanes=8", "run.updates=2", "run.name=cli", f"run.storage={tmp_path}"]
    command = [
        sys.executable,
        "-m",
        "unbraid.cluster.cli",
        "train",
        "infogan-mnist",
        *overrides,
        f"data.url={digits_url}",
        "--debug",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent.parent)
    assert done.returncode == 0, done.stderr
    assert "update 2/2" in done.stdout
    assert "code accuracy: 0." in done.stdout
    assert f"report: {tmp_path}/cli/report.html" in done.stdout
