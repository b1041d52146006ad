"""Population-based training's exchange: a member goes on from another one's checkpoint, with other values.

Tune hands over a pointer, a file of some bytes; the weights are the members' own checkpoints. The donor trains on meanwhile,
and its checkpoint may be pruned before it is read: then its newest one is taken, which is never worse trained. The copy belongs
to the member that took it, so that nothing which happens to the donor afterwards matters.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import CONFIG_KEY
from unbraid.trainers.search.campaign.lineage import LINEAGE, read_lineage

POINTER = "pointer.json"
ATTEMPTS, WAIT_SECONDS = 20, 0.5
"""A donor's first checkpoint may still be on its way; one that disappears while it is read is looked for again."""


@dataclass(frozen=True)
class Pointer:
    """A state of a member.

    Attributes:
        trial: its name.
        updates: that it had made.
    """

    trial: str
    updates: int


def take_over(config: SystemConfig, params: Mapping[str, Any], pointer: Pointer) -> None:
    """Make the state that is pointed to this member's own, and its values too; nothing to do when it is its own already.

    Args:
        config: of the member that takes over.
        params: its values from now on.

    Raises:
        CheckpointError: when the donor has no checkpoint that can be read.
    """
    assert config.run.name is not None
    if pointer.trial == config.run.name:
        return
    mine = open_run(config.run.storage, config.run.name, create=True)
    state = read_donor(open_run(config.run.storage, pointer.trial), pointer)
    lineage = read_lineage(mine)
    lineage.append({"updates": state["updates"], "donor": pointer.trial, "params": dict(params)})
    checkpoints = Checkpoints(mine, config.run.keep_checkpoints)
    checkpoints.drop_after(state["updates"] - 1)
    checkpoints.write(state["updates"], state)
    # the values last: a member that is cut before goes on with its own, from where it was
    mine.put(CONFIG_KEY, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    mine.put(LINEAGE, json.dumps(lineage, indent=2).encode())


def read_donor(store: Store, pointer: Pointer) -> dict[str, Any]:
    """The state that is pointed to, or the donor's newest where that one is gone."""
    checkpoints = Checkpoints(store, keep=1)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_SECONDS)
        steps = checkpoints.steps()
        if not steps:
            continue
        try:
            state = checkpoints.load(pointer.updates if pointer.updates in steps else steps[-1])
        except (DataError, CheckpointError):
            continue
        if state is not None:
            return state
    raise CheckpointError(f"{store.url}: no checkpoint that can be read, though {pointer.trial} was to be copied")
