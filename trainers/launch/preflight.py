"""Checks before a run is started: mistakes end here, in seconds, before anything is written or anything heavy is imported."""

from __future__ import annotations

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import fitted_fields, read_index
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.stream.order import Order
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import claim_run, open_run, require_same_config, require_same_set
from unbraid.trainers.runs.record import read_run, run_status
from unbraid.trainers.runs.trackers.tracking import require_trackers


def preflight(config: SystemConfig, command: str) -> Store:
    """Check that a run can be trained, and claim its name in the storage, where no other launch may train it.

    Args:
        command: recorded with a new run.

    Returns:
        The store of the run.

    Raises:
        ConfigError, DataError: as :func:`check_run`.
    """
    return claim_run(config, command, check_run(config))  # last, so that a mistake leaves nothing in the storage


def check_run(config: SystemConfig, free: tuple[str, ...] = ()) -> dict[str, SystemConfig]:
    """Check that a run can be trained; writes nothing.

    Args:
        free: beginnings of learnt keys in which an earlier configuration of the run may differ.

    Returns:
        The configurations of the runs that this one starts from, by name.

    Raises:
        ConfigError, DataError: naming what is wrong with the data set, the order, the storage, or an earlier configuration.
    """
    inputs = check_inputs(config)
    assert config.run.name is not None
    store = open_run(config.run.storage, config.run.name)
    require_same_set(store, read_index(open_store(config.data.url)).digest)
    require_same_config(store, config, free)
    return inputs


def check_inputs(config: SystemConfig) -> dict[str, SystemConfig]:
    """Check that the data set and the runs to start from exist and fit; writes nothing.

    Returns:
        The configurations of the runs that this one starts from, by name.

    Raises:
        ConfigError, DataError: naming what is wrong.
    """
    require_trackers(config)
    data = config.data
    index = read_index(open_store(data.url))
    for key, split in (("data.validation_split", data.validation_split), ("data.test_split", data.test_split)):
        if split is not None and not index.splits.get(split):
            raise ConfigError(
                f"{key}={split}: the set at {data.url} has no such split, only {', '.join(index.splits)}; pack it again "
                "(`unbraid data pack` holds out a validation split), or name another split"
            )
    missing = [name for name in config.training_fields() if name not in index.fields]
    if missing:
        raise ConfigError(
            f"data.url: the samples at {data.url} have no {' and no '.join(missing)} (only {', '.join(index.fields)}), which "
            f"{config.system} needs: name another set, or pack this one with them (see `unbraid data pack --help`)"
        )
    try:
        Order(tuple(s.count for s in index.shards(data.split)), data.batch, data.lanes, data.window, config.run.seed)
    except ValueError as error:
        raise DataError(f"{data.url}: {error}") from None
    if data.fit is not None and "keypoints" in config.training_fields():
        raise ConfigError(
            f"data.fit: {config.system} reads keypoints, which are in pixels of the stored images; pack the set with --size "
            "instead, which moves them with the images"
        )
    expected = config.image_shape
    for name, field in fitted_fields(index.fields, data.fit).items():
        found = "of several sizes" if field.has_several_sizes else str(field.shape)
        if field.kind == "image" and expected is not None and field.shape != expected:
            raise ConfigError(
                f"networks.image: {expected} does not fit the {name}s at {data.url}, which are {found}: "
                "choose the preset for this data set, set networks.image, pack the set with --size, or resize images when they "
                "are read, by data.fit=[HEIGHT,WIDTH]"
            )
    return config.require_inputs()


def is_finished(config: SystemConfig, store: Store) -> bool:
    """Whether the run has already made the number of updates that the configuration asks for."""
    return run_status(store) == "finished" and read_run(store).get("step", 0) >= config.run.updates
