"""A few synthetic people in a folder, and DPIG's stages in miniature, for tests."""

from dataclasses import replace
from pathlib import Path

import torch

from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.people import make_people
from unbraid.datasets.store import open_store
from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.launch.preflight import preflight
from unbraid.trainers.loop import train
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.step.distributed import World

ENCODER = "networks.encoder={channels: 4, blocks: 3, region_blocks: 2, crop: 8, region: 4, background: 6}"
TINY = {
    "appearance": [
        ENCODER, "networks.decoder={channels: 4, blocks: 3, bottleneck: 8, conditioning: modulated}",
        "networks.discriminator={channels: [4, 8]}", "loss.adversarial_from=0",
    ],
    "pose": ["networks.pose={hidden: 16, pairs: 1, embedding: 5}"],
    "mapping": [f"networks.{factor}={{hidden: 8, pairs: 1, critic_hidden: 8, critic_layers: 2}}" for factor in FACTORS],
}  # fmt: skip
SHARED = ["data.batch=10", "data.lanes=2", "data.window=20", "run.precision=float32", "run.cpus=1", "run.log_every=1",
          "optim.ema_every=1"]  # fmt: skip


def pack_people(folder: Path, identities: int = 12, images: int = 4) -> str:
    """Packed at 32x16; returns the folder."""
    source = make_people("people", identities=identities, images=images, cameras=3, size=(32, 16), test_share=0.25)
    source = replace(source, splits={**source.splits, "validation": source.splits["test"]})
    pack(source, open_store(str(folder), create=True), lambda text: None, shards=4)
    return str(folder)


def stage_config(stage: str, url: str, storage: Path | str, *further: str) -> SystemConfig:
    """Of a stage in miniature; stage II starts from the other two."""
    named = ["stages.appearance=appearance", "stages.pose=pose"] if stage == "mapping" else []
    return resolve(f"dpig-people-small-{stage}", overrides(stage, url, storage, *named, *further))


def run(config: SystemConfig) -> None:
    """Train in this process."""
    preflight(config, "test")
    store = open_run(config.run.storage, str(config.run.name))
    train(config, store, World(), torch.device("cpu"), lambda line: None)


def overrides(stage: str, url: str, storage: Path | str, *further: str) -> list[str]:
    """For the small preset of a stage."""
    drawing = ["networks.drawing={heat_radius: 1.5, mask_radius: 2, closing: 3, region_margin: 2, lone_margin: 3}"]
    image = ["networks.image={channels: 3, height: 32, width: 16}"]
    own = TINY[stage] + image + (drawing if stage == "appearance" else [])
    return [*SHARED, *own, f"data.url={url}", f"run.storage={storage}", f"run.name={stage}", *further]
