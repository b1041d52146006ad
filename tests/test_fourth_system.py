"""A further system is new files only: nothing that there is has to be edited, and every contract holds for it unasked."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fourth_system.addition import CAPABILITIES, Addition, Capability

VIOLATIONS = [
    ("cluster → trainers → models, datasets", "models/tally/networks.py", "unbraid.datasets.store"),
    ("no import circle", "trainers/systems/tally/model.py", "unbraid.trainers.systems.tally.system"),
    ("no import circle", "trainers/step/schedule.py", "unbraid.trainers.system"),
    ("models are pure", "models/tally/networks.py", "yaml"),
    ("configurations are read without torch", "trainers/systems/tally/config.py", "torch"),
    ("configurations are read without torch", "models/tally/specs.py", "unbraid.models.losses"),
    (
        "systems know nothing of each other",
        "trainers/systems/tally/system.py",
        "unbraid.trainers.systems.cdd.losses",
    ),
    (
        "systems know nothing of each other",
        "trainers/systems/cdd/model.py",
        "unbraid.trainers.systems.tally.config",
    ),
    ("models of systems share nothing", "models/tally/networks.py", "unbraid.models.cdd.critics"),
    ("models of systems share nothing", "models/losses.py", "unbraid.models.tally.specs"),
    (
        "outside of its folder, trainers knows no system",
        "trainers/loop.py",
        "unbraid.trainers.systems.tally.config",
    ),
    (
        "outside of its folder, trainers knows no system",
        "trainers/new/room.py",
        "unbraid.trainers.systems.tally.model",
    ),
    ("outside of a system's folder", "trainers/measures/density.py", "unbraid.models.tally.specs"),
    ("only generate knows systems", "cluster/commands/eval.py", "unbraid.trainers.systems.tally.config"),
    ("only generate knows systems", "cluster/doctor/findings.py", "unbraid.models.tally.specs"),
]
"""Of each contract the beginning of its name, and a module whose import into a file breaks it."""


@pytest.fixture(scope="module")
def addition(tmp_path_factory: pytest.TempPathFactory) -> Addition:
    return Addition(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: capability.__name__)
def test_a_system_is_new_files_only(addition: Addition, capability: Capability) -> None:
    capability(addition)


@pytest.mark.parametrize(("contract", "file", "module"), VIOLATIONS)
def test_contracts_cover_a_new_system(addition: Addition, contract: str, file: str, module: str) -> None:
    with _added(addition.folder / file, f"\n\ndef broken() -> None:\n    import {module}\n"):
        done = addition.contracts()
    broken = [line for line in done.stdout.splitlines() if line.startswith(contract) and " BROKEN" in line]
    assert done.returncode == 1
    assert len(broken) == 1, done.stdout


@contextmanager
def _added(path: Path, text: str) -> Iterator[None]:
    """Within, a file ends with some text; a package that is not there is made, and taken away again."""
    before = path.read_text() if path.exists() else None
    if before is None:
        path.parent.mkdir()
        (path.parent / "__init__.py").touch()
    path.write_text((before or "") + text)
    try:
        yield
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)
