"""One whole update of every preset on the meta device: no tensor on the wrong device, no host synchronisation.

On that device ``.item()``, ``bool(tensor)``, ``.cpu()`` and mixing with CPU tensors all raise. It is how code for a GPU
is trusted on machines without one.
"""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainers.config import preset_names, resolve
from trainers.distributed import World
from trainers.infogan.config import Config
from trainers.infogan.system import InfoGAN
from trainers.system import Batch, build_system

META = torch.device("meta")
EVERY_CHANGE = [
    "augment.enabled=true", "augment.brightness=1", "augment.contrast=0.5", "augment.saturation=1", "augment.translation=0.125",
    "augment.cutout=0.5", "data.augment.flip=true", "data.augment.crop=2", "data.augment.brightness=0.2",
]  # fmt: skip


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("preset", preset_names())
def test_a_whole_step_runs_on_the_meta_device(preset: str, augmented: bool) -> None:
    config = resolve(preset, ["optim.ema_every=1", *(EVERY_CHANGE if augmented else ["augment.enabled=false"])])
    assert isinstance(config, Config)
    system = build_system(config, META, World())
    batch = {"image": torch.empty(config.data.batch, *config.networks.image.shape, dtype=torch.uint8, device=META)}
    with FlopCounterMode(display=False) as flops:
        scalars = system.step(batch)
    assert flops.get_total_flops() > 1e9
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
