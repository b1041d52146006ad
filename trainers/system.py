"""The contract between systems and everything that trains, measures, shows and searches them.

A system is a folder ``trainers/systems/NAME`` (NAME may be nested, ``dpig.pose`` is the folder ``dpig/pose``) with

- ``config.py``: ``Config``, a :class:`SystemConfig`; imports no torch,
- ``model.py``: ``load_model(config, networks, inputs, device) -> Model``,
- ``system.py``: ``build(config, device, world) -> System``,
- ``measures.py``: ``evaluate(model, data) -> dict[str, float]``,
- ``pictures.py``: ``preview(model, data)`` and ``figures(model, data, scores)``, both ``-> dict[str, Tensor]``,
- and, where two trained models can be compared without labels, ``agreement.py``: ``agreement(reader, drawer) -> float``.

Nothing lists systems: a folder with these files is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import SYSTEMS
from unbraid.trainers.data import Batch, EvaluationData
from unbraid.trainers.step.distributed import World

Scalars = dict[str, Tensor]
"""Detached scalars on the device, by metric name."""
Measures = dict[str, float]
"""By name, such as ``code/accuracy``."""
Pictures = dict[str, Tensor]
"""Grids (3, H, W) uint8 on the CPU, by name."""


class Model(Protocol):
    """What a system has learnt: its networks in evaluation mode, moving averages where there are any, without optimisers.

    Measures, pictures, ``generate``, the search and export work on models; what else one can do is its system's own.

    Attributes:
        device: that its networks lie on.
    """

    @property
    def device(self) -> torch.device: ...


class System(Protocol):
    """Players that learn together; :class:`unbraid.trainers.step.adversaries.Adversaries` has all but ``step`` and ``model``.

    Attributes:
        networks: what checkpoints store, by name; moving averages included.
        optimizers: one a player.
        updates: made so far; a checkpoint restores it.
    """

    updates: int

    @property
    def networks(self) -> dict[str, nn.Module]: ...

    @property
    def optimizers(self) -> dict[str, Optimizer]: ...

    @property
    def model(self) -> Model:
        """What has been learnt so far; it shares its networks with the system."""
        ...

    def lower_rates(self, steps: Sequence[int], factor: float) -> None:
        """Multiply the learning rates by a factor once more from each of these steps on."""
        ...

    def step(self, batch: Batch) -> Scalars:
        """One update of every player on this rank's share of a batch.

        Where its scalars are read (``run.log_every``), they hold ``gradient_norm/NAME`` and ``update_norm/NAME`` of players.
        """
        ...


def build_system(config: SystemConfig, device: torch.device, world: World) -> System:
    """The system that ``config.system`` names, with fresh weights from ``config.run.seed``, the same on every rank.

    On the meta device, runs that it would start from need not be there.
    """
    torch.manual_seed(config.run.seed)
    with device if device.type == "meta" else nullcontext():  # weights are not even drawn there
        system: System = _module(config.system, "system").build(config, device, world)
    return system


def load_model(
    config: SystemConfig, networks: Mapping[str, Any], inputs: Mapping[str, SystemConfig], device: torch.device
) -> Model:
    """The model that a checkpoint holds.

    Args:
        networks: state dicts by name, as :attr:`System.networks` names them.
        inputs: configurations of the runs that it started from, by name.

    Raises:
        CheckpointError: when a network's weights are missing or of other sizes.
    """
    model: Model = _module(config.system, "model").load_model(config, networks, inputs, device)
    return model


def evaluate(config: SystemConfig, model: Model, data: EvaluationData) -> Measures:
    """All measures of a model; with several ranks a collective, which gives the same on each."""
    measures: Measures = _module(config.system, "measures").evaluate(model, data)
    return measures


def preview(config: SystemConfig, model: Model, data: EvaluationData) -> Pictures:
    """What a model makes of inputs that never change, to be looked at while it trains."""
    pictures: Pictures = _module(config.system, "pictures").preview(model, data)
    return pictures


def figures(config: SystemConfig, model: Model, data: EvaluationData, scores: Measures) -> Pictures:
    """Pictures that explain the measures of a finished run."""
    pictures: Pictures = _module(config.system, "pictures").figures(model, data, scores)
    return pictures


def has_agreement(system: str) -> bool:
    """Whether two models of a system can be compared without labels."""
    return (SYSTEMS.joinpath(*system.split(".")) / "agreement.py").is_file()


def agreement(system: str, reader: Model, drawer: Model) -> float:
    """How far ``reader`` finds in the drawer's images what the drawer put there, in [0, 1]; see :func:`has_agreement`."""
    found: float = _module(system, "agreement").agreement(reader, drawer)
    return found


def _module(system: str, name: str) -> Any:
    return import_module(f"unbraid.trainers.systems.{system}.{name}")
