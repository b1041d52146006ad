"""Open, find, claim and delete runs."""

import time
from collections.abc import Mapping

from unbraid.datasets.store import Store, open_below, open_store
from unbraid.datasets.store.retry import default_backoff
from unbraid.trainers.config.schema import SystemConfig, differences, effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import (
    CONFIG_KEY,
    RUN_KEY,
    input_key,
    provenance,
    read_config,
    read_run_or_none,
    write_config,
    write_run,
)


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
    """Open the store of a run that is given by its name, or by its folder or URL."""
    return open_store(reference) if "/" in reference else open_run(storage, reference)


def claim_run(config: SystemConfig, command: str, inputs: Mapping[str, SystemConfig]) -> Store:
    """Write the configuration of a new run, or check that an existing run's agrees with it.

    Whoever calls this has the right to write there: the run's lease, or that of its campaign.

    Args:
        command: recorded with a new run.
        inputs: configurations of the runs that this one starts from. They are stored with it, because those runs may be moved
            or deleted.

    Raises:
        ConfigError: when a run of that name has another configuration.
        DataError: when the storage cannot be written.
    """
    assert config.run.name is not None
    store = open_run(config.run.storage, config.run.name, create=True)
    require_same_config(store, config)
    write_config(store, config)
    for name, of_input in inputs.items():
        write_config(store, of_input, input_key(name))
    if read_run_or_none(store) is None:
        write_run(store, {"command": command, "started": time.time(), **provenance()})
    return store


def require_same_config(store: Store, config: SystemConfig) -> None:
    """Check that a run goes on with a configuration that learns the same.

    Args:
        store: of the run, which may not be there yet.

    Raises:
        ConfigError: naming each key that would change what is learnt, with both values.
    """
    if not store.exists(CONFIG_KEY):
        return
    may_change = effects(type(config))
    changed = {k: v for k, v in differences(read_config(store), config).items() if k not in may_change}
    if changed:
        listing = "\n".join(f"  {key}: {before!r} there, {now!r} asked for" for key, (before, now) in changed.items())
        raise ConfigError(
            f"run {config.run.name!r} in {config.run.storage} has another configuration:\n{listing}\n"
            "give this one another run.name, or take these overrides back"
        )


def require_same_set(store: Store, digest: str) -> None:
    """Check that a run goes on with the data set that it began with.

    Args:
        store: of the run; a run that never trained has no set yet.
        digest: of the set that is at its URL now.

    Raises:
        ConfigError: when it is another set, naming both digests.
    """
    record = read_run_or_none(store)
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
