"""What a finished run is told of: the commands that it names are there, for every system."""

from pathlib import Path

import click
import pytest

from unbraid.cluster.cli import main
from unbraid.cluster.commands.result import _next
from unbraid.datasets.store import FolderStore
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline
from unbraid.trainers.config.presets import preset_names

PRESETS = {resolve(name).system: name for name in preset_names() if not is_pipeline(name)}


@pytest.mark.parametrize("system", PRESETS)
def test_every_command_that_comes_next_is_one(system: str, tmp_path: Path) -> None:
    for line in _next(resolve(PRESETS[system], ["run.name=mine"]), FolderStore(tmp_path)):
        program, *words = line.split()
        assert program == "unbraid"
        command: click.Command | None = main
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, line
        assert not isinstance(command, click.Group) or words == ["--help"], line
