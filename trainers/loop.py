"""The training loop. It knows no system: update, log, show, measure, checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import torch

from unbraid.datasets.store import Store
from unbraid.datasets.stream.stream import Position, SampleStream
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import EvaluationData, open_stream, to_device
from unbraid.trainers.errors import CheckpointError, CollapseError, DivergenceError, StoppedError
from unbraid.trainers.monitor.clock import Clock
from unbraid.trainers.monitor.divergence import explain, read_scalars
from unbraid.trainers.monitor.judge import Finding
from unbraid.trainers.monitor.rates import Rates
from unbraid.trainers.runs.checkpoint import Checkpoints, Newest, expected_bytes, load_system_state, system_state
from unbraid.trainers.runs.checkpoint_writer import CheckpointWriter
from unbraid.trainers.runs.going_back import require_nothing_lost
from unbraid.trainers.runs.monitor import RunMonitor
from unbraid.trainers.runs.open import require_same_set
from unbraid.trainers.runs.record import REPORT_KEY, read_run_or_none, write_run
from unbraid.trainers.runs.recorder import Recorder, SilentRecorder, StorageRecorder
from unbraid.trainers.runs.rollback import rolled_back_to
from unbraid.trainers.runs.trackers.tracking import tracked
from unbraid.trainers.runs.watch import Watch
from unbraid.trainers.step.distributed import World, device_name, on_main, share_buffers
from unbraid.trainers.step.schedule import is_due
from unbraid.trainers.system import Measures, Scalars, System, build_system, evaluate, figures, preview

Listener = Callable[[Mapping[str, Any]], None]


def train(
    config: SystemConfig,
    store: Store,
    world: World,
    device: torch.device,
    listener: Listener,
    monitor: RunMonitor | None = None,
) -> int:
    """Train one run to its budget, from its newest whole checkpoint if there is one.

    Args:
        store: of the run, already claimed.
        world: this process among the run's workers; a process group exists when there are several.
        listener: called with each line of metrics on rank 0, on others with what concerns that rank alone.
        monitor: of what is asked of this launch from outside; the default is nothing.

    Returns:
        Updates made in all, earlier launches included.

    Raises:
        StoppedError: when a stop was asked for, after the checkpoint.
    """
    with _opened(config, store, world, device, listener, monitor or RunMonitor(store)) as training:
        while not training.is_over:
            scalars = training.system.step(to_device(next(training.stream), device))
            training.log(scalars)
            training.show()
            measured = training.measure()
            training.checkpoint()
            training.report(measured)
        training.finish()
    if world.is_main:
        write_run(store, {"status": "finished", "ended": time.time()})  # everything is in the storage now
    return training.system.updates


@dataclass
class Training:
    """One run on one rank. Each method is called after every update, on all ranks, and does what is due."""

    config: SystemConfig
    store: Store
    world: World
    device: torch.device
    system: System
    stream: SampleStream
    recorder: Recorder
    writer: CheckpointWriter
    monitor: RunMonitor
    listener: Listener
    rates: Rates
    clock: Clock
    watch: Watch
    starts: int
    lost_updates: int
    is_best: bool = False

    @property
    def is_over(self) -> bool:
        """Whether no further update is to be made."""
        return self.system.updates >= self.config.run.updates or self.clock.is_over

    def log(self, scalars: Scalars) -> None:
        """Record the update's scalars, and rates since the last line, and judge them on rank 0: gradients are the same on all.

        Raises:
            DivergenceError: when the run has diverged or collapsed.
        """
        step = self.system.updates
        if not is_due(step, self.config.run.log_every) and step != self.config.run.updates:
            return
        losses, rates = read_scalars(scalars), self.rates.read(step)
        self.clock.look()
        if not self.world.is_main:
            self.listener({"step": step, **rates})
            return
        finding = self.watch.judge.read({"step": step, **losses})
        if all(map(math.isfinite, losses.values())):
            self.listener(self.recorder.scalars(step, losses | rates | self._status()))
        if finding is not None:
            self.end_by(finding)

    def show(self) -> None:
        """Draw what the model makes of inputs that never change; on rank 0, delivered in the background."""
        run, step = self.config.run, self.system.updates
        if self.is_over or not self.world.is_main or not (is_due(step, run.preview_every) or self._measures_are_due):
            return
        self.recorder.pictures(step, self._preview(), "preview")

    def measure(self) -> Mapping[str, Any] | None:
        """Measure the validation split, each rank its stride of it. Returns the line of metrics that rank 0 has recorded."""
        if self.is_over or not self._measures_are_due:
            return None
        started = time.monotonic()
        line = self._record(self._measures(self.config.data.validation_split), "evaluation")
        self.is_best = self.watch.add_measures(line)
        self.rates.leave_out_time(started)
        return line

    def checkpoint(self) -> None:
        """Begin to write a checkpoint; where one was asked for from outside, complete it and do what it was wanted for."""
        if self.is_over or not self.world.is_main:
            return
        self.monitor.require_lease()
        asked = self.monitor.take_checkpoint_request()
        run, step = self.config.run, self.system.updates
        if asked or self.is_best or is_due(step, run.checkpoint_every) or step in run.evaluate_at:
            self._save()
        self.is_best = False
        if asked:
            self._handle_request()

    def report(self, measured: Mapping[str, Any] | None) -> None:
        """Hand measures to the listener, which may end the run here: hence after the checkpoint."""
        if measured is not None and self.world.is_main:
            self.listener(measured)

    def finish(self) -> None:
        """The last checkpoint first, then the test split's measures on all ranks, then pictures and the report on rank 0.

        Without a test split the measures are of the validation split, and are recorded as such.
        """
        if self.world.is_main:
            self._save(must=True)
            if self.monitor.stop_requested:
                self._handle_request()
        data = self.config.data
        scores = self._measures(data.reported_split)
        self.report(self._record(scores, "evaluation" if data.test_split is None else "test"))
        if not self.world.is_main:
            return
        from unbraid.trainers.runs.report import write_report

        step = self.system.updates
        previews = self._preview()
        self.recorder.pictures(step, previews, "preview")
        explained = figures(
            self.config, self.system.model, EvaluationData(self.config, self.device, data.reported_split), scores
        )
        self.recorder.pictures(step, explained, "figures")
        lines = self.recorder.lines()
        self.store.put(REPORT_KEY, write_report(self.config, step, lines, scores, previews | explained))
        self.writer.wait()
        kept = vars(self.watch.kept(self.writer.checkpoints.steps()))
        verdict = {"evaluation": scores, "nothing_learnt": self.config.nothing_learnt(scores)}
        write_run(self.store, {"step": step, **verdict, "evaluation_split": data.reported_split, "checkpoints": kept})

    def end_by(self, finding: Finding) -> NoReturn:
        """Record why the run has to end, draw its curves, and end it.

        Raises:
            DivergenceError: always, naming the checkpoint to go on from.
        """
        from unbraid.trainers.runs.report import write_report

        self.writer.wait()
        kept = self.watch.kept(self.writer.checkpoints.steps())
        message = explain(self.config, finding, kept.good)
        self.recorder.event(finding.kind, message)
        self.recorder.flush()
        write_run(self.store, {"diverged": {**vars(finding), "good": kept.good or 0}, "checkpoints": vars(kept)})
        report = write_report(self.config, finding.step, self.recorder.lines(), {}, {}, f"{finding.kind}: {message}")
        self.store.put(REPORT_KEY, report)
        raise (CollapseError if finding.kind == "collapsed" else DivergenceError)(f"{finding.kind}: {message}")

    @property
    def _measures_are_due(self) -> bool:
        run, step = self.config.run, self.system.updates
        return is_due(step, run.evaluate_every) or step in run.evaluate_at

    def _measures(self, split: str) -> Measures:
        share_buffers(self.system.networks, self.world)
        return evaluate(self.config, self.system.model, EvaluationData(self.config, self.device, split, self.world))

    def _record(self, scores: Measures, group: str) -> Mapping[str, Any]:
        line = self.recorder.scalars(self.system.updates, {f"{group}/{name}": value for name, value in scores.items()})
        self.recorder.flush()
        return line

    def _preview(self) -> dict[str, torch.Tensor]:
        return preview(
            self.config, self.system.model, EvaluationData(self.config, self.device, self.config.data.validation_split)
        )

    def _save(self, must: bool = False) -> None:
        self.recorder.flush(must)  # first: a run that goes on from here finds its metrics up to here
        state = system_state(self.system) | {"position": vars(self.stream.position)}
        step = self.system.updates
        try:
            self.writer.save(step, state)
        except DivergenceError as error:
            self.end_by(Finding("diverged", str(error), step, step))

    def _handle_request(self) -> None:
        """Complete the checkpoint that was asked for, then stop, or wait for the end of a node that will be taken away.

        Raises:
            StoppedError: when a stop was asked for.
        """
        self.writer.wait()
        step = self.system.updates
        if self.monitor.stop_requested:
            raise StoppedError(f"stopped as asked, saved at update {step}")
        self.recorder.event("preempted", f"a node goes soon; the checkpoint of step {step} is complete")
        self.recorder.flush()
        if self.monitor.must_pause:
            self.monitor.wait_for_preemption()

    def _status(self) -> dict[str, float]:
        """What an operator watches of a run beside its losses and rates."""
        return {
            **self.writer.status(),
            "checkpoint/lost_updates": float(self.lost_updates),
            "run/starts": float(self.starts),
            "run/workers": float(self.world.size),
        }


@contextmanager
def _opened(
    config: SystemConfig, store: Store, world: World, device: torch.device, listener: Listener, monitor: RunMonitor
) -> Iterator[Training]:
    """A run at its newest whole checkpoint, ready for its next update; what was saved is complete when it is left."""
    run = config.run
    system = build_system(config, device, world)
    with ExitStack() as opened:
        opened.enter_context(monitor)
        guard = monitor.require_lease
        checkpoints = Checkpoints(store, run.keep_checkpoints)
        if world.is_main:
            checkpoints.require_space(expected_bytes(system))
        newest = _newest(checkpoints, world)
        position = Position()
        if newest.state is not None:
            load_system_state(system, newest.state)
            position = _position(newest.state)
        system.lower_rates(rolled_back_to(store), config.divergence.rate_factor)
        recorder: Recorder = SilentRecorder()
        if world.is_main:
            recorder = tracked(StorageRecorder(store, system.updates, guard), config, _provenance(store))
        opened.enter_context(recorder)
        on_event = partial(recorder.event, "checkpoint")
        writer = opened.enter_context(CheckpointWriter(checkpoints, 60 * run.storage_retry_minutes, guard, on_event))
        stream = opened.enter_context(open_stream(config, world, position))
        starts = _note_start(store, stream.index.digest, device_name(device)) if world.is_main else 0
        if world.is_main:
            _tell_where_it_begins(newest, checkpoints, recorder)
        rates, clock = Rates(stream, config.data.batch, system.updates), Clock(run.minutes, world)
        watch = Watch(config, recorder.lines(), (read_run_or_none(store) or {}).get("judged_from", 0))
        checkpoints.protected = lambda steps: watch.kept(steps).steps
        training = Training(
            config=config, store=store, world=world, device=device, system=system, stream=stream, recorder=recorder,
            writer=writer, monitor=monitor, listener=listener, rates=rates, clock=clock, watch=watch, starts=starts,
            lost_updates=newest.lost_updates,
        )  # fmt: skip
        if watch.finding is not None:
            training.end_by(watch.finding)  # it has recorded lines by which it should have ended
        yield training


def _provenance(store: Store) -> dict[str, Any]:
    """What trackers are told of code and data beside the configuration."""
    record = read_run_or_none(store) or {}
    return {name: value for name in ("git_commit", "data_digest", "command") if (value := record.get(name))}


def _newest(checkpoints: Checkpoints, world: World) -> Newest:
    """The newest whole checkpoint, on every rank the one that rank 0 has found; a collective."""
    newest = Newest()

    def find() -> dict[str, float]:
        nonlocal newest
        newest = checkpoints.newest()
        if newest.step is None:
            require_nothing_lost(checkpoints.store)
        return {} if newest.step is None else {"step": newest.step}

    found = on_main(find, world)
    if not world.is_main and "step" in found:
        step = int(found["step"])
        newest = Newest(step, checkpoints.load(step))
    return newest


def _position(state: Mapping[str, Any]) -> Position:
    """The stream's position in a checkpoint's state.

    Raises:
        CheckpointError: when there is none in it.
    """
    try:
        return Position(int(state["position"]["epoch"]), int(state["position"]["batch"]))
    except (KeyError, TypeError, ValueError):
        raise CheckpointError("the checkpoint does not say at which sample it was made: no run wrote it") from None


def _tell_where_it_begins(newest: Newest, checkpoints: Checkpoints, recorder: Recorder) -> None:
    """Record from which checkpoint a run goes on; move the damaged ones after it out of the way, and record that too."""
    for step, problem in newest.damaged:
        recorder.event("checkpoint_damaged", f"that of step {step}: {problem}; {checkpoints.set_aside(step)}")
    if newest.step is None:
        return
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest.time))
    lost = f"; {newest.lost_updates} updates after it were lost and are made again" if newest.damaged else ""
    recorder.event("resumed", f"from update {newest.step}, checkpoint of {made}{lost}")
    recorder.flush()


def _note_start(store: Store, data_digest: str, device: str) -> int:
    """Write down that the run trains, and on which device; returns for which time.

    Raises:
        ConfigError: when it trained on another set before.
    """
    require_same_set(store, data_digest)
    starts = (read_run_or_none(store) or {}).get("starts", 0) + 1
    noted = {"status": "running", "data_digest": data_digest, "device": device, "starts": starts, "diverged": None}
    write_run(store, noted)
    return starts
