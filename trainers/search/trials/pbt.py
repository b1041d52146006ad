"""The exploit step of population-based training: a member continues from a donor's checkpoint, with explored values.

The driver says which donor and which values (:mod:`unbraid.trainers.search.schedulers.population`); the weights are in the
donor's own checkpoints. The copy is stored in the member's own run, so the member does not depend on the donor afterwards.
"""

from __future__ import annotations

import time
from typing import Any

import yaml

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.documents import DocumentError
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.aside import set_aside
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import CONFIG_KEY, write_run
from unbraid.trainers.search.campaign.history import Descent
from unbraid.trainers.search.campaign.lineage import LINEAGE_KEY, append_lineage, read_lineage

ATTEMPTS, WAIT_SECONDS = 20, 0.5
"""How often a donor's checkpoint is looked for: its first may still be on its way, and one may be removed while it is read."""


def exploit(config: SystemConfig, descent: Descent) -> None:
    """Copy a donor's state into a member's run. Does nothing when that was done before.

    Args:
        config: of the member, with its values from then on.

    Raises:
        CheckpointError: when the donor has no readable checkpoint.
    """
    assert config.run.name is not None
    run = open_run(config.run.storage, config.run.name, create=True)
    if _is_copied(run, descent):
        return
    state = read_donor(open_run(config.run.storage, descent.donor), descent)
    checkpoints = Checkpoints(run, config.run.keep_checkpoints)
    checkpoints.drop_after(state["updates"] - 1)
    checkpoints.write(state["updates"], state)
    run.put(CONFIG_KEY, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    write_run(run, {"judged_from": state["updates"]})  # its losses are those of other values now
    append_lineage(run, descent)  # last: what was cut off is done again


def _is_copied(run: Store, descent: Descent) -> bool:
    """Whether a member's run has copied this state; where that cannot be read, it has not, and its lineage begins anew."""
    try:
        return descent in read_lineage(run)
    except DocumentError:
        set_aside(run, [LINEAGE_KEY], LINEAGE_KEY)
        return False


def read_donor(run: Store, descent: Descent) -> dict[str, Any]:
    """The donor's state at the given updates, or its newest whole one where that checkpoint is gone or damaged.

    Raises:
        CheckpointError: when no checkpoint becomes readable within :data:`ATTEMPTS`.
    """
    checkpoints = Checkpoints(run, keep=1)
    wanted: int | None = descent.updates
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_SECONDS)
        steps = checkpoints.steps()
        if not steps:
            continue
        try:
            state = checkpoints.load(wanted if wanted in steps else None)
        except DataError:
            continue
        except CheckpointError:
            wanted = None  # it is damaged, or was removed while it was read
            continue
        if state is not None:
            return state
    raise CheckpointError(f"{run.url}: no checkpoint that can be read, though {descent.donor} was to be copied")
