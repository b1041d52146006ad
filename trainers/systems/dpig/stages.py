"""Runs of stage I that stage II starts from."""

from __future__ import annotations

from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.record import read_config


def read_stage(reference: str, storage: str) -> tuple[Store, SystemConfig]:
    """Store and configuration of a run.

    Args:
        reference: name of a run in ``storage``, or its folder or URL.

    Raises:
        ConfigError: when there is none.
    """
    try:
        store = find_run(reference, storage)
    except ConfigError as error:
        raise ConfigError(
            f"{error}: train stage I first (`unbraid train dpig-…` does all stages in order), or name its run, folder or URL"
        ) from None
    return store, read_config(store)
