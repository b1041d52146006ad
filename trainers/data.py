"""Batches for training and for measures, from the set that a configuration names, on a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unbraid.datasets.stream.cache import open_cache
from unbraid.datasets.stream.stream import Position, SampleStream, read_split
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.step.distributed import World

EVALUATION_BATCH = 500

Batch = Mapping[str, Tensor]
"""Fields of a data set by name, each (B, ...); images are uint8, (B, C, H, W)."""


def open_stream(config: SystemConfig, world: World, position: Position) -> SampleStream:
    """This rank's stream of the training split."""
    data = config.data
    return SampleStream(
        data.url,
        data.split,
        batch=data.batch,
        lanes=data.lanes,
        window=data.window,
        seed=config.run.seed,
        rank=world.rank,
        world_size=world.size,
        prefetch_bytes=data.prefetch_mb << 20,
        decode_threads=data.decode_threads or torch.get_num_threads(),  # this worker's share of the processor
        max_skipped=data.max_skipped,
        cache=open_cache(data.cache, data.cache_gb),
        position=position,
        retry_seconds=60 * config.run.storage_retry_minutes,
        fit=data.fit,
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch on ``device``, pinned and asynchronously where that is a GPU; images are laid out in rows of channels there."""
    if device.type != "cpu":
        batch = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in batch.items()}
    return {name: tensor.contiguous() for name, tensor in batch.items()}


@dataclass(frozen=True)
class EvaluationData:
    """What measures and pictures read: batches of a split and of the training split, on a device, shared out over ranks.

    Each rank gets its stride of the batches: the one with the index i goes to rank i mod size. What is computed from them is
    gathered with :func:`unbraid.trainers.step.distributed.gather_parts`.

    Attributes:
        config: of the run; ``run.labels=false`` leaves out what training does not see.
        split: that is measured on, or shown.
        world: of the ranks that call at the same time; the default is one.
        whole: whether measures that read the first samples of the split read all of them.
    """

    config: SystemConfig
    device: torch.device
    split: str
    world: World = field(default_factory=World)
    whole: bool = False

    def held_out(self, limit: int | None = None, batch: int = EVALUATION_BATCH) -> Iterator[Batch]:
        """Samples of the split that is measured on, in packed order.

        Args:
            limit: samples in all, over all ranks; None is the whole split, as is any limit if ``whole`` is set.
            batch: samples in a batch.
        """
        return self._read(self.split, None if self.whole else limit, batch)

    def training(self, limit: int, batch: int = EVALUATION_BATCH) -> Iterator[Batch]:
        """Samples of the training split, see :meth:`held_out`; without random changes."""
        return self._read(self.config.data.split, limit, batch)

    def _read(self, split: str, limit: int | None, size: int) -> Iterator[Batch]:
        hidden = () if self.config.run.labels else self.config.truth_fields
        data, world = self.config.data, self.world
        batches = read_split(data.url, split, size, limit, rank=world.rank, world_size=world.size, fit=data.fit)
        for batch in batches:
            yield to_device({name: tensor for name, tensor in batch.items() if name not in hidden}, self.device)
