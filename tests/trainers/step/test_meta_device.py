"""One whole update of every network on the meta device: no tensor on the wrong device, no host synchronisation.

On that device ``.item()``, ``bool(tensor)``, ``.cpu()`` and mixing with CPU tensors all raise. It is how code for a GPU
is trusted on machines without one.
"""

import json
from contextlib import suppress

import pytest
import torch
from torch import Tensor

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.pipeline import is_pipeline
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import Batch
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.measures.flops import FlopCounter, meta_batch
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.system import InfoGAN

META = torch.device("meta")


def different_networks() -> list[str]:
    """One preset for each different network: ablations that differ in weights of losses, or in data, are left out."""
    first: dict[str, str] = {}
    for name in preset_names():
        if not is_pipeline(name):
            content = resolve(name).model_dump(mode="json")
            sizes = [content.get(section) for section in ("system", "kind", "networks", "codes", "factors")]
            first.setdefault(json.dumps(sizes, sort_keys=True), name)
    return list(first.values())


ALWAYS = ["optim.ema_every=1", "loss.adversarial_from=0", "augment.enabled=false"]
EVERY_CHANGE = [
    "augment.enabled=true", "augment.brightness=1", "augment.contrast=0.5", "augment.saturation=1", "augment.translation=0.125",
    "augment.cutout=0.5", "data.augment.flip=true", "data.augment.crop=2", "data.augment.brightness=0.2",
    "loss.smoothness=penalty", "loss.norm=1",
    "loss.critic_updates=2", "networks.translator.dropout=0.5", "standardise=true", "networks.decoder.conditioning=modulated",
]  # fmt: skip
"""What a system lacks or refuses is left out."""


def resolved(preset: str, overrides: list[str]) -> tuple[SystemConfig, list[str]]:
    """A preset's configuration with those overrides that its system has and allows, and these overrides."""
    taken: list[str] = []
    for override in overrides:
        with suppress(ConfigError):
            resolve(preset, [*taken, override])
            taken.append(override)
    return resolve(preset, taken), taken


def test_every_change_is_tried_with_some_network() -> None:
    tried = {override for preset, changed in steps() if changed for override in resolved(preset, ALWAYS + EVERY_CHANGE)[1]}
    assert tried == {*ALWAYS, *EVERY_CHANGE}


def steps() -> list[tuple[str, bool]]:
    """Each network as it is, and the first preset of each system with every change."""
    presets = different_networks()
    first = {resolve(preset).system: preset for preset in reversed(presets)}
    return [(preset, False) for preset in presets] + [(preset, True) for preset in first.values()]


@pytest.mark.parametrize(("preset", "changed"), steps())
def test_a_whole_step_runs_on_the_meta_device(preset: str, changed: bool) -> None:
    config, _ = resolved(preset, ALWAYS + (EVERY_CHANGE if changed else []))
    system = build_system(config, META, World())
    with FlopCounter() as counter:
        scalars = system.step(meta_batch(config))
    trained = sum(p.numel() for optimizer in system.optimizers.values() for p in optimizer.param_groups[0]["params"])
    assert counter.flops > 2 * config.data.batch * trained  # each weight is multiplied for each sample at least once
    assert all(value.device == META and value.shape == () and not value.requires_grad for value in scalars.values())


def test_the_meta_device_would_catch_a_synchronisation() -> None:
    class Synchronising(InfoGAN):
        def step(self, batch: Batch) -> dict[str, Tensor]:
            scalars = super().step(batch)
            return scalars if scalars["loss/d"].item() > 0 else {}

    config = resolve("infogan-mnist")
    assert isinstance(config, Config)
    with pytest.raises(RuntimeError, match="meta"):
        Synchronising(config, META, World()).step({"image": torch.empty(128, 1, 28, 28, dtype=torch.uint8, device=META)})
