"""Configurations of a later version, for tests of what the search derives from configuration classes."""

from typing import Annotated

import pytest

from unbraid.trainers.config.section import EXECUTION
from unbraid.trainers.config.sections import RunConfig
from unbraid.trainers.config.systems import system_schema


class RunWithNewKeys(RunConfig):
    """A run's section as it may look in a later version."""

    new_execution: Annotated[int, EXECUTION] = 0
    new_learnt: int = 0


@pytest.fixture
def new_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """InfoGAN's configuration has ``run.new_execution``, and ``run.new_learnt``."""

    class ConfigWithNewKeys(system_schema("infogan")):  # type: ignore[misc]  # a base class that is found at run time
        run: RunWithNewKeys = RunWithNewKeys()

    for module in ("overrides", "systems"):
        monkeypatch.setattr(f"unbraid.trainers.config.{module}.system_schema", lambda system: ConfigWithNewKeys)
