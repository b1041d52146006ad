"""A trained model as its users hold it; each system has a class of its own in its ``inference.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.systems import SYSTEMS
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.system import Model
from unbraid.trainers.use.explorer import Explorer


@dataclass(frozen=True)
class Origin:
    """What is known of a model beside its weights.

    Attributes:
        name: of its run.
        updates: that it was trained for.
        place: folder or URL of the run or the export.
        extras: tensors that an export holds beside the networks, see :meth:`TrainedModel.extras`.
    """

    name: str = ""
    updates: int = 0
    place: str = ""
    extras: Mapping[str, Tensor] = field(default_factory=dict)


class TrainedModel:
    """The moving averages of a run's networks, in evaluation mode, without gradients.

    Args:
        config: of the run.
        model: its system's.
        origin: where it is from.

    Attributes:
        methods: names of what it can do, for messages and cards.
        task: the Hugging Face hub's name of that.
        example: lines of Python that use a ``model``, for the card.
    """

    methods: ClassVar[tuple[str, ...]] = ()
    task: ClassVar[str] = "image-to-image"
    example: ClassVar[str] = ""

    def __init__(self, config: SystemConfig, model: Model, origin: Origin) -> None:
        self.config = config
        self.networks = model
        self.origin = origin

    @property
    def device(self) -> torch.device:
        """That the networks lie on."""
        return self.networks.device

    def __repr__(self) -> str:
        what = ", ".join(f".{name}()" for name in self.methods)
        return f"{self.config.system} {self.origin.name or self.origin.place}, {self.origin.updates:,} updates: {what}"

    def extras(self) -> dict[str, Tensor]:
        """What an export must hold beside the networks so that every method works without the run's data; by name."""
        return {}

    def programs(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """The networks that are drawn and read with, by name, each with example inputs whose first axis is any batch."""
        return {}

    def explorer(self) -> Explorer | None:
        """Images over a grid of the model's factors, for a page; None where there is nothing to turn.

        Raises:
            DataError: when it needs images of the run's data set, which cannot be read.
        """
        return None

    def random(self, seed: int) -> RandomSource:
        """Random numbers of a seed, on the model's device."""
        return RandomSource(seed, self.device)


def trained_model(config: SystemConfig, model: Model, origin: Origin) -> TrainedModel:
    """A model as its system's users hold it.

    Raises:
        ConfigError: when the system draws nothing by itself.
    """
    if not has_inference(config.system):
        raise ConfigError(
            f"{origin.name or origin.place}: a model of {config.system} draws no images by itself; name another run"
        )
    found: Any = import_module(f"unbraid.trainers.systems.{config.system}.inference").trained(config, model, origin)
    assert isinstance(found, TrainedModel)
    return found


def has_inference(system: str) -> bool:
    """Whether models of a system can be used by themselves: its folder has an ``inference.py``."""
    return (SYSTEMS.joinpath(*system.split(".")) / "inference.py").is_file()
