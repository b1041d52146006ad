"""A few pairs in a folder, and a CDD and a pix2pix in miniature, for tests."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources import mnist_cdcb
from unbraid.datasets.store import open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig

TRAIN, TEST = 400, 120
TINY = [
    "networks.parts={shared: 6, exclusive: 4, noise_std: 0.1}",
    "networks.translator={channels: 8, extra: 1, dropout: 0.0, rectified: false}",
    "networks.critic={channels: [4, 8]}", "networks.feature_critic={hidden: 16, layers: 2}",
    "data.batch=16", "data.lanes=2", "data.window=40", "run.precision=float32", "run.cpus=1", "run.log_every=1",
    "optim.ema_every=1", "optim.ema_decay=0.9", "run.workers=1",
]  # fmt: skip

TINY_PIX2PIX = [
    "networks.generator={channels: 4}", "networks.discriminator={channels: [4, 8, 8]}",
    "data.batch=16", "data.lanes=2", "data.window=40", "run.precision=float32", "run.cpus=1", "run.log_every=1",
    "optim.ema_every=1", "optim.ema_decay=0.9", "run.workers=1",
]  # fmt: skip


def write_idx_digits(folder: Path) -> Path:
    """Scikit-learn's handwritten digits as MNIST's four files, enlarged to 28x28."""
    folder.mkdir(parents=True, exist_ok=True)
    source = load_digits()
    large = np.zeros((len(source.images), 28, 28), np.uint8)
    large[:, 2:26, 2:26] = np.kron((source.images * 15.9375).astype(np.uint8), np.ones((3, 3), np.uint8))
    for prefix, rows in (("train", slice(0, TRAIN)), ("t10k", slice(TRAIN, TRAIN + TEST))):
        images, labels = large[rows], source.target[rows].astype(np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())
    return folder


def pack_coloured_digits(folder: Path, side: int = 32) -> str:
    """Packed as pairs; returns the folder. MNIST's checksums are not asked of scikit-learn's digits."""
    raw = write_idx_digits(folder / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist_cdcb, "check_mnist", lambda folder: None)
        source = mnist_cdcb.read_mnist_cdcb(raw, "digits", size=(side, side))
    source = replace(source, splits={**source.splits, "validation": source.splits["test"]})
    packed = str(folder / "packed")
    pack(source, open_store(packed, create=True), lambda text: None, shards=4)
    return packed


def cdd_config(url: str, storage: Path | str, *further: str) -> SystemConfig:
    """Of a CDD in miniature."""
    named = [f"data.url={url}", f"run.storage={storage}", "run.name=cdd"]
    return resolve("cdd-mnist-cdcb-small", [*TINY, *named, *further])


def pix2pix_config(url: str, storage: Path | str, *further: str) -> SystemConfig:
    """Of a pix2pix in miniature, from X to Y."""
    named = [f"data.url={url}", f"run.storage={storage}", "run.name=pix2pix"]
    return resolve("pix2pix-mnist-cdcb-small", [*TINY_PIX2PIX, *named, *further])
