"""Arithmetic of an update, counted on the meta device without doing it."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import Batch
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.system import System

_TYPES = {"image": torch.uint8, "integer": torch.int64, "array": torch.float32}


class FlopCounter(TorchDispatchMode):
    """Counts matrix products and convolutions within, a multiplication and an addition as two.

    torch's own counter keeps a record of modules, which an inner ``autograd.grad`` (WGAN-GP) breaks; this keeps none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def step_flops(system: System, config: SystemConfig) -> float:
    """FLOPs of one update of a system that was built on the meta device."""
    with FlopCounter() as counter:
        system.step(meta_batch(config))
    return float(counter.flops)


def meta_batch(config: SystemConfig) -> Batch:
    """A batch of a configuration's size on the meta device.

    Raises:
        ConfigError: when the configuration takes images of any size.
    """
    batch = {}
    for name, field in config.training_fields().items():
        if field.shape is None:
            raise ConfigError(f"{config.system}: arithmetic is counted for {name}s of a known size only")
        batch[name] = torch.empty(config.data.batch, *field.shape, dtype=_TYPES[field.kind], device="meta")
    return batch
