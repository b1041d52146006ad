"""Commands are found by listing a folder, imported when they are used, and share their options."""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cluster.test_cli import unbraid
from unbraid.cluster.commands.discovery import load_command, short_helps

ROOT = Path(__file__).parents[3]
PACKAGES = ["unbraid.cluster.commands", "unbraid.cluster.commands.generate"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_that_holds_a_command_of_its_name_is_found(package: str) -> None:
    """Whatever the first line of its file says: a module whose first line is not as it must be is missing from the help."""
    holding: set[str] = set()
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        members = vars(importlib.import_module(f"{package}.{module.name}")).values()
        names = {str(member.name) for member in members if isinstance(member, click.Command)}
        holding |= names & {module.name.replace("_", "-")}
    assert set(short_helps(package)) == holding
    assert {load_command(package, name).name for name in holding} == holding


@pytest.mark.parametrize(("package", "group"), [(PACKAGES[0], []), (PACKAGES[1], ["generate"])])
def test_help_lists_every_command_with_its_short_help(package: str, group: list[str]) -> None:
    listed = unbraid(*group, "--help").output.partition("Commands:")[2]
    for name, text in short_helps(package).items():
        assert f"\n  {name} " in listed
        assert text.split()[0] in listed


@pytest.fixture
def copy_of_the_tree(tmp_path: Path) -> Path:
    """A tree whose ``cluster`` is a copy, that may be changed."""
    package = tmp_path / "unbraid"
    package.mkdir()
    shutil.copy(ROOT / "unbraid/__init__.py", package)
    shutil.copytree(ROOT / "cluster", package / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "datasets", "trainers"):
        (package / name).symlink_to(ROOT / name)
    return tmp_path


def run(tree: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("folder", "words"), [("commands", ["say-hello"]), ("commands/generate", ["generate", "say-hello"])])
def test_a_module_that_is_added_is_a_command_without_another_edit(
    copy_of_the_tree: Path, folder: str, words: list[str]
) -> None:
    (copy_of_the_tree / "unbraid/cluster" / folder / "say_hello.py").write_text(
        f'"""``unbraid {" ".join(words)}``: greet."""\n'
        "import click\n@click.command()\ndef say_hello() -> None:\n    click.echo('good morning')\n"
    )
    listed = run(copy_of_the_tree, "-m", "unbraid.cluster.cli", *words[:-1], "--help")
    assert re.search(r"^  say-hello +Greet$", listed, re.MULTILINE)
    assert run(copy_of_the_tree, "-m", "unbraid.cluster.cli", *words) == "good morning\n"


def test_a_module_that_holds_no_command_is_named(copy_of_the_tree: Path) -> None:
    (copy_of_the_tree / "unbraid/cluster/commands/empty.py").write_text('"""``unbraid empty``: nothing."""\n')
    script = (
        "from unbraid.cluster.commands.discovery import load_command\n"
        "try:\n    load_command('unbraid.cluster.commands', 'empty')\nexcept LookupError as error:\n    print(error)"
    )
    assert "empty.py: its docstring begins as a command's does" in run(copy_of_the_tree, "-c", script)


def test_help_and_a_command_import_no_other_command() -> None:
    script = (
        "import sys, click\nfrom click.testing import CliRunner\nfrom unbraid.cluster.cli import main\n"
        "assert 'train' in main.list_commands(click.Context(main))\n"
        "result = CliRunner().invoke(main, sys.argv[1:])\nassert result.exit_code == 0\n"
        "print(sorted(m for m in sys.modules if m.startswith('unbraid.cluster.commands.')))"
    )
    assert run(ROOT, "-c", script, "--help").strip() == "['unbraid.cluster.commands.discovery']"
    loaded = ast.literal_eval(run(ROOT, "-c", script, "presets"))
    assert loaded == ["unbraid.cluster.commands.discovery", "unbraid.cluster.commands.presets"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no such command 'trian' (did you mean train?)"),
        (["zzz"], "no such command 'zzz'; expected one of board, data, doctor"),
        (["generate", "dpg", "swap"], "no such command 'dpg' (did you mean dpig?)"),
        (["--hlep"], "No such option '--hlep'"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_nearest(arguments: list[str], message: str) -> None:
    result = unbraid(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_an_option_that_commands_share_is_defined_once() -> None:
    """Commands that read the same option use the one in ``options.py``, and do not define it again."""
    folder = ROOT / "cluster/commands"
    shared = set(flags(folder / "options.py"))
    assert {"--address", "--json", "--kube", "--storage", "--detach"} <= shared
    again = {
        f"{path.relative_to(folder)} {flag}"
        for path in folder.rglob("*.py")
        if path.name != "options.py"
        for flag in flags(path)
        if flag in shared
    }
    assert not again


def flags(path: Path) -> Iterator[str]:
    """The long names of the options that a module defines by ``click.option``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "click.option":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
                    yield str(argument.value)
