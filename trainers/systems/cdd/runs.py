"""A run of CDD as a model to use."""

from __future__ import annotations

import torch

from unbraid.datasets.errors import DataError
from unbraid.models.cdd.translators import Translators
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.checkpoint import load_weights, newest_networks
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.record import read_config
from unbraid.trainers.systems.cdd.config import Config
from unbraid.trainers.systems.cdd.model import Model


def load_model(reference: str, storage: str, device: torch.device) -> tuple[Model, Config]:
    """The averaged translators of a run's newest checkpoint, and its configuration.

    Args:
        reference: name of a run in ``storage``, or its folder or URL.

    Raises:
        ConfigError: when there is no such run, or it is of another system.
        CheckpointError: when it has no checkpoint yet, or one of networks of other sizes.
    """
    try:
        store = find_run(reference, storage)
        config = read_config(store)
    except DataError:
        raise ConfigError(
            f"no run {reference!r} in {storage}: train one first (`unbraid train cdd-mnist-cdcb-small`), "
            "or name its folder or s3:// URL"
        ) from None
    if not isinstance(config, Config):
        raise ConfigError(f"{reference}: is a run of {config.system}, not of cdd")
    sizes = config.networks
    translators = Translators(sizes.translator, sizes.parts, sizes.image, config.loss.exclusive > 0).to(device)
    load_weights(translators, newest_networks(store), "translators_average")
    return Model(sizes.image, sizes.parts, translators.requires_grad_(False).eval(), device), config
