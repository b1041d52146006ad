"""What a run's workers were handed, held against the order that its seed prescribes."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unbraid.datasets.stream.order import rank_lanes
from unbraid.datasets.stream.stream import Position, SampleStream
from unbraid.trainers.config.schema import SystemConfig

Images = tuple[int, ...]


@dataclass(frozen=True)
class Handed:
    """What was found right.

    Attributes:
        samples: of all updates together.
        again: workers' shares of a batch that were handed out once more, because updates were lost and trained again.
    """

    samples: int
    again: int


def check_samples(trace: Path, config: SystemConfig, workers: list[int]) -> Handed:
    """See that each update of a run has seen the samples that it should, once.

    Whatever was handed out for a position, in however many launches, must be the same; and the group that trained an update
    in the end must have been handed, together, the whole global batch.

    Args:
        trace: folder of :mod:`tests.faults.tracing`.
        workers: that trained each update, as the run's record tells.
    """
    handed = _handed_out(trace)
    samples = again = 0
    with _plain_stream(config) as stream:
        for update, (world, (at, expected)) in enumerate(zip(workers, _batches(stream), strict=False), 1):
            shares = [tuple(rank_lanes(config.data.lanes, rank, world)) for rank in range(world)]
            whole: list[int] = []
            for lanes in shares:
                found = handed[at, lanes]
                assert found, f"update {update}: no worker was handed lanes {lanes} at {at}"
                assert len(set(found)) == 1, f"update {update}: lanes {lanes} at {at} were handed out with other samples again"
                again += len(found) - 1
                whole.extend(found[0])
            assert sorted(whole) == sorted(expected), f"update {update}: not the batch of {at}"
            samples += len(whole)
    return Handed(samples, again)


def _handed_out(trace: Path) -> dict[tuple[Position, tuple[int, ...]], list[Images]]:
    handed = defaultdict(list)
    for file in trace.glob("*.jsonl"):
        for line in file.read_text().split("\n")[:-1]:  # a killed process may have left half a line
            entry = json.loads(line)
            handed[Position(entry["epoch"], entry["batch"]), tuple(entry["lanes"])].append(tuple(entry["images"]))
    return handed


def _plain_stream(config: SystemConfig) -> SampleStream:
    data = config.data
    return SampleStream(data.url, data.split, batch=data.batch, lanes=data.lanes, window=data.window, seed=config.run.seed)


def _batches(stream: SampleStream) -> Iterator[tuple[Position, Images]]:
    while True:
        at = stream.position
        yield at, tuple(zlib.crc32(image.numpy().tobytes()) for image in next(stream)["image"])
