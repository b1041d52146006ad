"""A run that has diverged goes back to its last good checkpoint by itself, under lower rates, a limited number of times.

Each return is in the run's record, and the rates of an update follow from it: a run that is resumed repeats them bit for bit.
"""

from __future__ import annotations

from unbraid.datasets.store import Store
from unbraid.trainers.config.schema import SystemConfig, differences
from unbraid.trainers.errors import DivergenceError, RunError
from unbraid.trainers.monitor.divergence import explain
from unbraid.trainers.monitor.judge import Finding
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.events import event_entry
from unbraid.trainers.runs.record import METRICS_KEY, read_config, read_run_or_none, write_run


def rolled_back_to(store: Store) -> list[int]:
    """The steps to which a run has gone back by itself."""
    return [rollback["to"] for rollback in (read_run_or_none(store) or {}).get("rollbacks", [])]


def may_roll_back(store: Store, config: SystemConfig) -> bool:
    """Whether a run has diverged, and is to go back (again)."""
    record = read_run_or_none(store) or {}
    is_wanted = config.run.on_divergence == "rollback" and record.get("diverged") is not None
    return is_wanted and len(record.get("rollbacks", [])) < config.divergence.rollbacks


def roll_back(store: Store, config: SystemConfig) -> str | None:
    """Make the last good checkpoint of a run that has diverged its newest one; its launch holds the run, and trains no more.

    Returns:
        What was done, in words; None where the run has not diverged, or is not to go back (again).
    """
    record = read_run_or_none(store) or {}
    diverged, earlier = record.get("diverged"), record.get("rollbacks", [])
    if diverged is None or not may_roll_back(store, config):
        return None
    good = diverged["good"]
    Checkpoints(store, config.run.keep_checkpoints).drop_after(good)
    if not good and store.exists(METRICS_KEY):  # else the recorder leaves out the lines after the checkpoint
        store.delete(METRICS_KEY)
    place = f"the checkpoint of step {good}" if good else "the beginning"
    message = (
        f"from update {diverged['step']} to {place}, with {config.divergence.rate_factor:g} of its learning rates "
        f"({len(earlier) + 1} of at most {config.divergence.rollbacks} times): {diverged['what']}"
    )
    done = {"at": diverged["step"], "to": good, "what": diverged["what"]}
    write_run(store, {"rollbacks": [*earlier, done], "diverged": None, "step": good, "status": "stopped", "message": message})
    store.put(*event_entry("rolled_back", message))
    return f"goes back {message}"


def require_not_diverged(store: Store, config: SystemConfig) -> None:
    """Check that a run which has diverged is not simply trained again; other thresholds, or a rollback, are another matter.

    Raises:
        RunError: caused by a DivergenceError, with what to do.
    """
    diverged = (read_run_or_none(store) or {}).get("diverged")
    if diverged is None or config.run.on_divergence == "rollback":
        return
    if any(key.startswith("divergence.") for key in differences(read_config(store), config)):
        return  # the judge reads the recorded lines again, by the other thresholds
    finding = Finding(diverged["kind"], diverged["what"], diverged["since"], diverged["step"])
    error = DivergenceError(f"run {config.run.name} has {finding.kind}: {explain(config, finding, diverged['good'] or None)}")
    raise RunError(str(error)) from error
