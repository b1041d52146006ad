"""The exploit step of population-based training: a member continues from a donor's checkpoint, with explored values.

Tune passes on only the donor's name and updates, in a small file; the weights are in the donor's own checkpoints. The donor
keeps training, so that checkpoint may be removed before it is read: then the donor's newest is copied. The copy is stored in
the member's own run, so the member does not depend on the donor afterwards. (Tune's scheduler does the explore step, see
:mod:`unbraid.trainers.search.trials.schedulers`.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import yaml

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import CONFIG_KEY
from unbraid.trainers.search.campaign.lineage import Descent, append_lineage
from unbraid.trainers.search.trials.reports import MemberState

ATTEMPTS, WAIT_SECONDS = 20, 0.5
"""How often a donor's checkpoint is looked for: its first may still be on its way, and one may be removed while it is read."""


def exploit(config: SystemConfig, params: Mapping[str, Any], donor: MemberState) -> None:
    """Copy a donor's state into a member's run, with the values that the member trains with from now on.

    Does nothing when the donor is the member itself.

    Args:
        config: of the member, with the new values.
        params: the new values, for the lineage.

    Raises:
        CheckpointError: when the donor has no readable checkpoint.
    """
    assert config.run.name is not None
    if donor.trial == config.run.name:
        return
    run = open_run(config.run.storage, config.run.name, create=True)
    state = read_donor(open_run(config.run.storage, donor.trial), donor)
    checkpoints = Checkpoints(run, config.run.keep_checkpoints)
    checkpoints.drop_after(state["updates"] - 1)
    checkpoints.write(state["updates"], state)
    # the values come last: a member that is killed before continues with its own values
    run.put(CONFIG_KEY, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    append_lineage(run, Descent(state["updates"], donor.trial, dict(params)))


def read_donor(run: Store, donor: MemberState) -> dict[str, Any]:
    """The donor's state at the given updates, or its newest whole one where that checkpoint is gone or damaged.

    Raises:
        CheckpointError: when no checkpoint becomes readable within :data:`ATTEMPTS`.
    """
    checkpoints = Checkpoints(run, keep=1)
    wanted: int | None = donor.updates
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
    raise CheckpointError(f"{run.url}: no checkpoint that can be read, though {donor.trial} was to be copied")
