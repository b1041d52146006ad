"""The training loop. It knows no system: step, log, preview, checkpoint, evaluate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unbraid.datasets.store import Store
from unbraid.datasets.stream.cache import open_cache
from unbraid.datasets.stream.stream import Position, SampleStream, read_split
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import DivergenceError, StoppedError
from unbraid.trainers.runs.checkpoint import Checkpoints, expected_bytes, load_system_state, system_state
from unbraid.trainers.runs.checkpoint_writer import CheckpointWriter
from unbraid.trainers.runs.monitor import RunMonitor
from unbraid.trainers.runs.record import REPORT_KEY, read_run, write_run
from unbraid.trainers.runs.recorder import Recorder, SilentRecorder, StorageRecorder
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import Batch, System, build_system

EVALUATION_BATCH = 500
CALIBRATION_IMAGES = 4000
CALIBRATION_BYTES = 16 << 20
"""Read ahead for them: a few batches are taken, and the rest would be read in vain."""
Listener = Callable[[Mapping[str, Any]], None]


def train(
    config: SystemConfig,
    store: Store,
    world: World,
    device: torch.device,
    listener: Listener,
    monitor: RunMonitor | None = None,
) -> int:
    """Train one run to its budget, from its newest checkpoint if there is one.

    Args:
        store: of the run, already claimed.
        world: this process among the run's workers; a process group exists when there are several.
        listener: given each line of metrics on rank 0, on others what concerns that rank alone.
        monitor: of requests from outside to rank 0; None when there are none.

    Returns:
        Updates made in all, earlier launches included.

    Raises:
        StoppedError: when it was asked to stop, after the checkpoint.
    """
    system = build_system(config, device, world)
    with ExitStack() as opened:
        monitor = opened.enter_context(monitor or RunMonitor(store))
        checkpoints = Checkpoints(store, config.run.keep_checkpoints)
        if world.is_main:
            checkpoints.require_space(expected_bytes(system))
        state = checkpoints.load()
        if state is not None:
            load_system_state(system, state)
        recorder: Recorder = (
            StorageRecorder(store, system.updates, monitor.require_lease) if world.is_main else SilentRecorder()
        )
        opened.enter_context(recorder)
        writer = opened.enter_context(
            CheckpointWriter(
                checkpoints,
                retry_seconds=60 * config.run.storage_retry_minutes,
                guard=monitor.require_lease,
                on_event=partial(recorder.event, "checkpoint"),
            )
        )
        stream = opened.enter_context(open_stream(config, world, Position(**state["position"]) if state else Position()))
        meter = Meter(config, world, stream, recorder, listener, system.updates)
        if world.is_main:
            meter.status = partial(status, writer, world, begin(store, stream.index.digest))
        while system.updates < config.run.updates and not meter.out_of_time:
            scalars = system.step(to_device(next(stream), device))
            step = system.updates
            if due(step, config.run.log_every) or step == config.run.updates:
                meter.log(step, scalars)
            if world.is_main:
                between_updates(system, meter, writer, device, monitor)
        if world.is_main:
            finish(system, meter, writer, store, device)
    if world.is_main:
        write_run(store, {"status": "finished", "ended": time.time()})  # everything is in the storage now
    return system.updates


def begin(store: Store, data_digest: str) -> int:
    """Note that the run trains, and for which time; returns that; rank 0 only."""
    earlier: int = read_run(store).get("starts", 0)
    write_run(store, {"status": "running", "data_digest": data_digest, "starts": earlier + 1})
    return earlier + 1


def between_updates(system: System, meter: Meter, writer: CheckpointWriter, device: torch.device, monitor: RunMonitor) -> None:
    """Preview, measure and checkpoint where they are due or asked for, but not at the end; rank 0 only."""
    config, recorder, step = meter.config, meter.recorder, system.updates
    run = config.run
    if step >= run.updates:
        return
    measures = due(step, run.evaluate_every) or step in run.evaluate_at
    if measures or due(step, run.preview_every):
        recorder.pictures(step, system.preview(), "preview")
    measured = meter.evaluation(step, evaluate(system, config, device)) if measures else None
    monitor.require_lease()
    asked = monitor.take_checkpoint_request()
    if due(step, run.checkpoint_every) or asked:
        recorder.flush()  # a run that goes on from here finds its metrics up to here
        writer.save(step, system_state(system) | {"position": vars(meter.stream.position)})
    if asked:
        handle_request(monitor, step, recorder, writer)
    if measured is not None:
        meter.listener(measured)  # who may end the run here, hence after the checkpoint


def status(writer: CheckpointWriter, world: World, starts: int) -> dict[str, float]:
    """Metrics for an operator beside losses and rates: checkpoints, starts of the run, and workers."""
    return {**writer.status(), "run/starts": float(starts), "run/workers": float(world.size)}


def handle_request(monitor: RunMonitor, step: int, recorder: Recorder, writer: CheckpointWriter) -> None:
    """Complete a checkpoint that was requested from outside, then stop or wait for the preemption.

    Raises:
        StoppedError: when that is to stop.
    """
    writer.wait()
    if monitor.stop_requested:
        raise StoppedError(f"stopped as asked; the checkpoint of step {step} is complete")
    recorder.event("preempted", f"a node goes soon; the checkpoint of step {step} is complete")
    recorder.flush()
    if monitor.must_pause:
        monitor.wait_for_preemption()


def finish(system: System, meter: Meter, writer: CheckpointWriter, store: Store, device: torch.device) -> None:
    """The last checkpoint first, then measures, pictures and the report; rank 0 only."""
    from unbraid.trainers.runs.report import write_report

    config, recorder, step = meter.config, meter.recorder, system.updates
    recorder.flush(must=True)  # first, as between updates: a run that is cut from here on finds all its metrics
    writer.save(step, system_state(system) | {"position": vars(meter.stream.position)})
    scores = evaluate(system, config, device)
    meter.listener(meter.evaluation(step, scores))
    pictures = system.preview()
    recorder.pictures(step, pictures, "preview")
    figures = system.figures(on_device(config, device))
    recorder.pictures(step, figures, "figures")
    store.put(REPORT_KEY, write_report(config, step, recorder.lines(), scores, pictures | figures))
    writer.wait()
    write_run(store, {"step": step, "evaluation": scores})


def evaluate(system: System, config: SystemConfig, device: torch.device) -> dict[str, float]:
    """This system's measures on the evaluation split."""
    with open_stream(config, World(), Position(), CALIBRATION_BYTES) as training:
        batches = -(-CALIBRATION_IMAGES // config.data.batch)
        system.calibrate(to_device(batch, device) for batch in islice(training, batches))
    return system.evaluate(on_device(config, device))


def on_device(config: SystemConfig, device: torch.device) -> Iterator[Batch]:
    """The evaluation split, batch by batch; without ``run.labels`` nothing in it is known but what training sees."""
    hidden = () if config.run.labels else config.truth_fields
    for batch in read_split(config.data.url, config.data.evaluation_split, EVALUATION_BATCH):
        yield to_device({name: tensor for name, tensor in batch.items() if name not in hidden}, device)


def open_stream(config: SystemConfig, world: World, position: Position, prefetch_bytes: int | None = None) -> SampleStream:
    """This rank's stream of the training split.

    Args:
        prefetch_bytes: default: as the configuration says.
    """
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
        prefetch_bytes=prefetch_bytes or data.prefetch_mb << 20,
        decode_threads=data.decode_threads or torch.get_num_threads(),  # this worker's share of the processor
        max_skipped=data.max_skipped,
        cache=open_cache(data.cache, data.cache_gb),
        position=position,
        patience=60 * config.run.storage_retry_minutes,
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch, pinned and asynchronously where the device is a GPU; images are put into rows of channels there."""
    if device.type != "cpu":
        batch = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in batch.items()}
    return {name: tensor.contiguous() for name, tensor in batch.items()}


def due(step: int, every: int) -> bool:
    """Whether something done every so many steps is done now; 0 is never."""
    return every > 0 and step % every == 0


@dataclass
class Meter:
    """Rates and losses between two log lines, and the clock of ``run.minutes``. What concerns data is this rank's own."""

    config: SystemConfig
    world: World
    stream: SampleStream
    recorder: Recorder
    listener: Listener
    _step: int
    status: Callable[[], Mapping[str, float]] = dict
    out_of_time: bool = False
    _started: float = field(default_factory=time.monotonic)
    _since: float = field(default_factory=time.monotonic)
    _waited: float = 0.0
    _megabytes: float = 0.0

    def log(self, step: int, scalars: Mapping[str, Tensor]) -> None:
        """Read this step's scalars off the device, once, and record them with the rates since the last line.

        Raises:
            DivergenceError: when one of them is not finite.
        """
        names = list(scalars)
        values = torch.stack([scalars[name].float() for name in names]).tolist()
        losses = dict(zip(names, values, strict=True))
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            raise DivergenceError(
                f"{', '.join(broken)} is not finite at update {step}: training diverged; lower optim.lr_* or the "
                "loss weights, or use run.precision=float32, under another run.name"
            )
        now = time.monotonic()
        seconds, updates = now - self._since, step - self._step
        waited = self.stream.statistics.wait_seconds - self._waited
        rates = {
            "speed/updates_per_second": updates / seconds,
            "speed/images_per_second": updates * self.config.data.batch / seconds,
            "data/wait_seconds": waited / updates,
            "data/wait_percent": 100 * waited / seconds,
            "data/epoch": float(self.stream.position.epoch),
            **self._transfers(seconds),
            **self.status(),
        }
        self._since, self._step, self._waited = now, step, self._waited + waited
        self._look_at_clock(now)
        line = self.recorder.scalars(step, losses | rates)
        self.listener(line if self.world.is_main else {"step": step, **rates})

    def _transfers(self, seconds: float) -> dict[str, float]:
        """What this rank has read since the last line, and what went wrong since the start."""
        store, cache = self.stream.store.statistics, self.stream.cache
        megabytes, self._megabytes = store.bytes / 1e6 - self._megabytes, store.bytes / 1e6
        transfers = {
            "data/megabytes_per_second": megabytes / seconds,
            "data/retries": float(sum(store.retries.values())),
            "data/skipped_samples": float(self.stream.statistics.skipped),
        }
        if cache is not None:
            looked = max(cache.statistics.hits + cache.statistics.misses, 1)
            transfers["data/cache_hit_percent"] = 100 * cache.statistics.hits / looked
        return transfers

    def evaluation(self, step: int, scores: Mapping[str, float]) -> dict[str, Any]:
        """Record measures, on rank 0; the time they took is in no rate. Returns the line as written."""
        line = self.recorder.scalars(step, {f"evaluation/{name}": value for name, value in scores.items()})
        self.recorder.flush()
        self._since = time.monotonic()
        return line

    def _look_at_clock(self, now: float) -> None:
        if self.config.run.minutes is None:
            return
        spent = torch.tensor(float(now - self._started >= 60 * self.config.run.minutes))
        if self.world.size > 1:  # all ranks stop at the same update, when the first one's time is up
            spent = spent.to(self._communicates_on())
            dist.all_reduce(spent, op=dist.ReduceOp.MAX)
        self.out_of_time = bool(spent.item())

    @staticmethod
    def _communicates_on() -> torch.device:
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
