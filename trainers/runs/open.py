"""Open, find, claim and delete runs."""

import time
from collections.abc import Mapping
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import AbsentError, FolderStore, Store, open_below, open_store
from unbraid.datasets.store.retry import default_backoff
from unbraid.trainers.config.schema import SystemConfig, differences, effects, place
from unbraid.trainers.config.words import nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.events import EVENTS
from unbraid.trainers.runs.record import (
    CHECKPOINTS,
    CONFIG_KEY,
    INPUTS,
    METRICS_KEY,
    RUN_KEY,
    input_key,
    provenance,
    read_config,
    read_metrics,
    read_run_or_none,
    write_config,
    write_run,
)

FEW = 8
"""Names of runs in a message."""


def open_run(storage: str, name: str, create: bool = False, retry_seconds: float = 0.0) -> Store:
    """Open the store of one run.

    Args:
        create: make it when it is missing.
        retry_seconds: for which requests to a server that does not answer are repeated.

    Raises:
        DataError: when the name leaves the storage, or the run's folder is a link.
    """
    return open_below(storage, name, create, default_backoff(retry_seconds))


def find_run(reference: str, storage: str) -> Store:
    """Open the store of a run that is given by its name in a storage, or by its folder or URL.

    Raises:
        ConfigError: when there is no run, naming those that are there.
        DataError: when the storage cannot be read.
    """
    try:
        store = open_store(reference) if "/" in reference else open_run(storage, reference)
        if store.exists(CONFIG_KEY) or store.exists(RUN_KEY):
            return store
        trouble = ""
    except AbsentError as error:
        trouble = f" ({error})"
    if "/" in reference:
        raise ConfigError(f"no run at {reference}{trouble}; a run's folder holds its {CONFIG_KEY}")
    raise ConfigError(f"no run {reference!r} in {storage}{trouble or _others(reference, storage)}")


def run_names(storage: str) -> list[str]:
    """Names of all runs in a storage, sorted.

    Raises:
        AbsentError: when the storage is a folder that is not there.
    """
    store = open_store(storage)
    if isinstance(store, FolderStore) and not store.root.is_dir():
        raise AbsentError(f"{storage}: no such folder; --storage names the one that holds runs, and training makes it")
    keys = store.keys()
    names = (key.removesuffix(f"/{RUN_KEY}") for key in keys if key.endswith(f"/{RUN_KEY}") and key.count("/") == 1)
    return sorted(name for name in names if not name.startswith("."))


def _others(name: str, storage: str) -> str:
    """The runs that are there, for the message about one that is not."""
    try:
        names = run_names(storage)
    except AbsentError:
        return ", a folder that is not there"
    if not names:
        return ", which holds no run"
    shown = ", ".join(names[:FEW]) + (", …" if len(names) > FEW else "")
    return f"{nearest(name, names)}; there {'is' if len(names) == 1 else 'are'} {shown}"


def claim_run(config: SystemConfig, command: str, inputs: Mapping[str, SystemConfig], free: tuple[str, ...] = ()) -> Store:
    """Write the configuration of a new run, or check that an existing run's agrees with it.

    A run that was claimed in vain, because it ended before it had learnt anything, may be claimed by another configuration.

    Whoever calls this has the right to write there: the run's lease, or that of its campaign.

    Args:
        command: recorded with a new run.
        inputs: configurations of the runs that this one starts from. They are stored with it, because those runs may be moved
            or deleted.
        free: as of :func:`require_same_config`.

    Raises:
        ConfigError: when a run of that name has another configuration.
        DataError: when the storage cannot be written.
    """
    assert config.run.name is not None
    store = open_run(config.run.storage, config.run.name, create=True)
    require_same_config(store, config, free)
    if not has_learnt(store):
        _forget(store, config)
    elif _learns_otherwise(store, config):  # at other rates, say: what was usual before is none to judge by
        record = read_run_or_none(store) or {}
        newest = record.get("step", 0) if free else max((int(line["step"]) for line in read_metrics(store)), default=0)
        write_run(store, {"judged_from": newest})
    write_config(store, config)
    for name, of_input in inputs.items():
        write_config(store, of_input, input_key(name))
    if read_run_or_none(store) is None:
        write_run(store, {"command": command, "started": time.time(), **provenance()})
    return store


def _learns_otherwise(store: Store, config: SystemConfig) -> bool:
    """Whether a configuration changes rates or weights of losses; a larger budget has rates that rise again."""
    changed = differences(_stored_config(store), config) if store.exists(CONFIG_KEY) else {}
    return any(key == "run.updates" or key.startswith(("optim.", "loss.", "run.precision")) for key in changed)


def changes(store: Store, config: SystemConfig) -> dict[str, tuple[Any, Any]]:
    """Learnt keys that a configuration would change in a run, with both values; none where there is no run yet.

    The place of the set is none where the set's digest is known, which :func:`require_same_set` compares.
    """
    if not store.exists(CONFIG_KEY):
        return {}
    may_change = {*effects(type(config))}
    if "data_digest" in (read_run_or_none(store) or {}):
        may_change.add("data.url")
    return {key: values for key, values in differences(_stored_config(store), config).items() if key not in may_change}


def _stored_config(store: Store) -> SystemConfig:
    """The configuration of a run that is to go on.

    Raises:
        ConfigError: when it cannot be read, with what to do.
    """
    try:
        return read_config(store)
    except ConfigError as error:
        raise ConfigError(
            f"{error}\nWithout it, nobody can say whether this command goes on with the same run. Put it back from a copy; if "
            "there is none, move it away: then the run goes on with this command's configuration."
        ) from None


def moved_set(store: Store, config: SystemConfig) -> str:
    """Say that a run's data set lies elsewhere than before, which its digest does not; "" where it lies where it was.

    Call it after :func:`require_same_set`.
    """
    if not has_learnt(store) or not store.exists(CONFIG_KEY):
        return ""
    before, now = _stored_config(store).data.url, config.data.url
    if place(before) == place(now):
        return ""
    return f"data.url: the set lies at {now} now, before at {before}: the digest is the same, so it is the same set"


def require_same_config(store: Store, config: SystemConfig, free: tuple[str, ...] = ()) -> None:
    """Check that a run goes on with a configuration that learns the same.

    Args:
        store: of the run, which may not be there yet.
        free: beginnings of learnt keys that may change, see :mod:`unbraid.trainers.runs.going_back`.

    Raises:
        ConfigError: naming each key that would change what is learnt, with both values.
    """
    if not has_learnt(store):
        return
    changed = {key: values for key, values in changes(store, config).items() if not key.startswith(free)}
    if changed:
        listing = "\n".join(f"  {key}: {before!r} there, {now!r} asked for" for key, (before, now) in changed.items())
        raise ConfigError(
            f"run {config.run.name!r} in {config.run.storage} has another configuration:\n{listing}\n"
            "give this one another run.name, or take these overrides back"
        )


def has_learnt(store: Store) -> bool:
    """Whether a run has made updates of which anything is left: metrics, or a checkpoint."""
    return store.sizes(METRICS_KEY).get(METRICS_KEY, 0) > 0 or bool(store.keys(f"{CHECKPOINTS}/"))


def _forget(store: Store, config: SystemConfig) -> None:
    """Delete the record of a run that has learnt nothing, unless it is of this configuration."""
    try:
        is_same = store.exists(CONFIG_KEY) and not changes(store, config)
    except (ConfigError, DataError):  # damaged, or of an earlier version
        is_same = False
    if not is_same:
        ours = (RUN_KEY, CONFIG_KEY, f"{EVENTS}/", INPUTS)
        for key in [key for prefix in ours for key in store.keys(prefix)]:
            store.delete(key)


def require_same_set(store: Store, digest: str) -> None:
    """Check that a run goes on with the data set that it began with.

    Args:
        store: of the run; one that has learnt nothing has no set yet.
        digest: of the set that is at its URL now.

    Raises:
        ConfigError: when it is another set, naming both digests.
    """
    record = read_run_or_none(store) if has_learnt(store) else None
    known = None if record is None else record.get("data_digest")
    if known not in (None, digest):
        raise ConfigError(
            f"run {store.url}: was trained on the set with the digest {known}, at data.url is now the one with {digest}: "
            "put the old set there, or give this run another run.name"
        )


def delete_run(store: Store) -> int:
    """Delete every object of a run; returns their number. The files that make it a run are deleted first."""
    keys = store.keys()
    for key in sorted(keys, key=lambda key: key not in (RUN_KEY, CONFIG_KEY)):
        store.delete(key)
    return len(keys)
