"""PG² as its users hold it."""

from __future__ import annotations

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.system import Model as AnyModel
from unbraid.trainers.systems.dpig.pg2.model import Model
from unbraid.trainers.systems.dpig.trained import PosedPeople
from unbraid.trainers.use.trained import Origin


def trained(config: SystemConfig, model: AnyModel, origin: Origin) -> PosedPeople:
    """See :func:`unbraid.trainers.use.trained.trained_model`."""
    assert isinstance(model, Model)
    return PosedPeople(config, model, origin)
