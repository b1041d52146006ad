"""Arithmetic of an update, counted on the meta device without doing it."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from unbraid.models.dpig.pose import KEYPOINTS
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.system import Batch, System


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
    """Of one update of a system that was built on the meta device."""
    with FlopCounter() as counter:
        system.step(meta_batch(config))
    return float(counter.flops)


def meta_batch(config: SystemConfig) -> Batch:
    """A batch of a configuration's size on the meta device, with every field that any system trains on.

    Raises:
        ConfigError: when the configuration takes images of any size.
    """
    if config.image_shape is None:
        raise ConfigError(f"{config.system}: arithmetic is counted for images of a known size only")
    meta = torch.device("meta")
    images = torch.empty(config.data.batch, *config.image_shape, dtype=torch.uint8, device=meta)
    keypoints = torch.empty(config.data.batch, KEYPOINTS, 3, device=meta)
    return {"image": images, "x": images, "y": images, "keypoints": keypoints}
