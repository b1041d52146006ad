"""A run goes back to an earlier checkpoint, or to its beginning, under the same name. Nothing is deleted: it is set aside."""

from __future__ import annotations

import re

from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import CheckpointError, ConfigError
from unbraid.trainers.runs.aside import set_aside
from unbraid.trainers.runs.checkpoint import Checkpoints, complete_steps
from unbraid.trainers.runs.events import event_entry
from unbraid.trainers.runs.open import changes, require_same_config
from unbraid.trainers.runs.record import CONFIG_KEY, LARGEST_METRICS, METRICS_KEY, read_metrics, read_run_or_none, write_run

FREE = ("loss.", "optim.", "augment.", "data.augment.", "run.precision")
"""Learnt keys that may change where a run goes back: the shapes of all weights, and the order of samples, stay as they are."""
_STEP = re.compile(r"(?:step-)?(?P<step>[0-9]{1,8})")


def parse_step(text: str) -> int:
    """The step that ``--from`` names: ``step-250``, or 0 for the beginning.

    Raises:
        ConfigError: when it names none.
    """
    found = _STEP.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--from {text}: expected step-N, a checkpoint that `unbraid runs show` lists, or 0 for the beginning"
        )
    return int(found["step"])


def check_going_back(store: Store, config: SystemConfig, step: int) -> bool:
    """Check that a run can go back to a step; writes nothing.

    Args:
        store: of the run.
        config: that it is to go on with.

    Returns:
        Whether it has to: False where it has gone back to that step with this configuration before, so that the same command,
        repeated, goes on.

    Raises:
        ConfigError: when there is no such run, or the configuration changes more than :data:`FREE`.
        CheckpointError: when there is no whole checkpoint of that step.
    """
    if not store.exists(CONFIG_KEY):
        raise ConfigError(
            f"--from: there is no run {store.url}; name the run that is to go back, by run.name=NAME or by --config with its "
            "config.yaml"
        )
    require_same_config(store, config, FREE)
    if (read_run_or_none(store) or {}).get("went_back") == step and not changes(store, config):
        return False
    if step:
        Checkpoints(store, keep=1).load(step)
    return True


def go_back(store: Store, config: SystemConfig, step: int) -> str:
    """Make a checkpoint the newest one of a run that this process holds; step 0 is the beginning.

    Later checkpoints and the metrics as they are now are set aside, and an event says so.

    Args:
        config: that the run goes on with, for the event.

    Returns:
        What was done, in words.
    """
    checkpoints = Checkpoints(store, keep=1)
    later = [other for other in checkpoints.steps() if other > step or not step]
    was = max([*later, *(int(line["step"]) for line in read_metrics(store))], default=0)
    changed = "".join(f"; {key}: {before!r} → {now!r}" for key, (before, now) in changes(store, config).items())
    places = [f"step {other} is {checkpoints.set_aside(other)}" for other in reversed(later)]
    if store.exists(METRICS_KEY):
        content = store.get(METRICS_KEY, LARGEST_METRICS)
        places.append(f"the metrics are {set_aside(store, [METRICS_KEY], 'metrics')}")
        if step:  # the recorder leaves out the lines after the checkpoint
            store.put(METRICS_KEY, content)
    message = f"from update {was} to {f'the checkpoint of step {step}' if step else 'the beginning'}{changed}"
    record = read_run_or_none(store) or {}
    write_run(
        store,
        {
            "status": "stopped", "message": f"went back {message}", "step": step, "evaluation": {}, "went_back": step,
            "diverged": None, "rollbacks": [done for done in record.get("rollbacks", []) if done["to"] < step],
        },
    )  # fmt: skip
    store.put(*event_entry("went_back", "; ".join([message, *places])))
    return f"goes back {message}"


def lost_updates(store: Store) -> int:
    """Updates that a run has made and cannot go on from, because all its checkpoints are gone; 0 where nothing is lost.

    A run that was killed before its first checkpoint was complete has lost nothing that a checkpoint had held.
    """
    if complete_steps(store):
        return 0
    lines = read_metrics(store)
    recorded = (read_run_or_none(store) or {}).get("step", 0)
    had_checkpoint = recorded > 0 or any(line.get("checkpoint/seconds", 0) > 0 for line in lines)
    return max([recorded, *(int(line["step"]) for line in lines)], default=0) if had_checkpoint else 0


def require_nothing_lost(store: Store) -> None:
    """Check that a run which has come far would not begin at 0 and write over its metrics.

    Raises:
        CheckpointError: when all its checkpoints are gone.
    """
    lost = lost_updates(store)
    if lost:
        raise CheckpointError(
            f"{store.url}: had come to update {lost}, and none of its checkpoints is there any more: put them back from a "
            "copy, or let it begin again with --from 0, which sets its metrics aside"
        )
