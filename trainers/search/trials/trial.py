"""One trial in its process: the training function that `unbraid train` calls, and what is told to Ray Tune about it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import FATAL, CheckpointError, ConfigError, DivergenceError, RunError
from unbraid.trainers.launch.here import train_here
from unbraid.trainers.launch.preflight import is_finished, preflight
from unbraid.trainers.launch.ray_train import train_on_ray
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import measures_of, read_run, run_status, write_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import trial_name
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.trials.collapse import CollapseError, CollapseWatch
from unbraid.trainers.search.trials.memory import free_memory, limit_arenas
from unbraid.trainers.search.trials.pbt import POINTER, Pointer, take_over

OBJECTIVE = "objective"
"""What Tune's schedulers look at; more is better."""


def run_trial(config: Mapping[str, Any]) -> None:
    """What Ray Tune calls, in a fresh process or in one that has run other trials.

    Args:
        config: ``task``, a mapping of ``campaign``, ``kind``, ``number``, ``seed`` and ``params``.
    """
    limit_arenas()
    task = config["task"]
    campaign = Campaign.model_validate(task["campaign"])
    try:
        if task["kind"] == "judge":
            from unbraid.trainers.search.plan.centrality import judge

            _report({"outcome": "judged", "centrality": json.dumps(judge(campaign, task["number"]))})
        else:
            Training(campaign, task["number"], task["seed"], task["params"]).run()
    finally:
        free_memory()


class Training:
    """One seed of one configuration."""

    def __init__(self, campaign: Campaign, number: int, seed: int, params: Mapping[str, Any]) -> None:
        self.campaign = campaign
        self.name = trial_name(number, seed)
        self.params = dict(params)
        self.config = campaign.config(self.params, seed, self.name)
        self.store = open_run(self.config.run.storage, self.name)
        self._watch = CollapseWatch(campaign.collapse)
        self._started = time.monotonic()
        self._earlier = 0.0
        self._failed = False

    def run(self) -> None:
        """Train to the end, or as far as it goes, and report how that was."""
        try:
            self._claim()
        except (ConfigError, DataError) as error:
            _report({"halt": str(error)})
            return
        if run_status(self.store) == "failed":  # and was not reported: the campaign was cut just then
            _report({"outcome": "failed", "cause": read_run(self.store)["message"], "seconds": self._earlier})
            return
        try:
            if not is_finished(self.config, self.store):
                with self._noted_when_stopped():
                    self._train()
        except RunError as error:
            self._ended_by(error.__cause__ if isinstance(error.__cause__, FATAL) else error)
        except (CollapseError, ConfigError) as error:
            self._ended_by(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._ended_by(error)
        else:
            self._finished()

    def _claim(self) -> None:
        pointer = _pointer()
        if pointer is not None:
            take_over(self.config, self.params, pointer)
        preflight(self.config, f"tune {self.campaign.name} {self.name}")
        self._earlier = read_run(self.store).get("seconds", 0.0)

    def _train(self) -> None:
        if self.config.run.workers > 1:
            train_on_ray(self.config, None, self)
        else:
            train_here(self.config, self)

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Listen to the run: a measure goes to Tune, which may end the trial there; a collapse is an error."""
        scores = measures_of(line)
        if not scores:
            self._look_at(line)
        elif line["step"] < self.config.run.updates:
            self._measured(line["step"], scores)

    def _look_at(self, line: Mapping[str, Any]) -> None:
        try:
            self._watch(line)
        except CollapseError as error:
            if self.config.run.workers == 1:
                raise  # out of training, which this is called from
            # a worker group trains elsewhere, and this thread only follows it: Tune ends both
            self._ended_by(error)

    def _measured(self, updates: int, scores: Mapping[str, float], **more: Any) -> None:
        result = {"updates": updates, "scores": json.dumps(scores), "seconds": self._seconds, **more}
        objective = self.campaign.scheduler_objective
        if objective is not None:
            result[OBJECTIVE] = objective.sign * scores[objective.metric]
        if isinstance(self.campaign.scheduler, Pbt):
            _report(result, Pointer(self.name, updates))
        else:
            _report(result)

    def _finished(self) -> None:
        run = read_run(self.store)
        write_run(self.store, {"seconds": self._seconds})
        self._measured(run["step"], run["evaluation"], outcome="finished")

    def _ended_by(self, error: BaseException) -> None:
        """Note a cause that a repetition would meet again; trouble with the storage is the whole campaign's."""
        if isinstance(error, DataError | CheckpointError):
            _report({"halt": f"trial {self.name}: {error}"})
            return
        self._failed = True
        cause = cause_of(error)
        write_run(self.store, {"status": "failed", "message": cause, "ended": time.time(), "seconds": self._seconds})
        _report({"outcome": "failed", "cause": cause, "seconds": self._seconds})

    @contextmanager
    def _noted_when_stopped(self) -> Iterator[None]:
        """Tune ends a trial by SystemExit out of a report; what was trained is in the storage by then."""
        try:
            yield
        except SystemExit:
            if not self._failed:  # else it is the report of that failure that Tune answers so
                write_run(self.store, {"status": "stopped", "ended": time.time(), "seconds": self._seconds})
            raise

    @property
    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._started


def cause_of(error: BaseException) -> str:
    """``diverged: …`` and its like; the word before the colon is what tables show."""
    kinds: dict[type[BaseException], str] = {
        DivergenceError: "diverged",
        CollapseError: "collapsed",
        ConfigError: "invalid",
        MemoryError: "out of memory",
    }
    word = next((word for kind, word in kinds.items() if isinstance(error, kind)), None)
    if word is None:
        word = "out of memory" if is_out_of_memory(error) else "failed"
    lines = str(error).strip().splitlines()
    return f"{word}: {lines[0] if lines else type(error).__name__}"


def is_out_of_memory(error: BaseException) -> bool:
    """Of a device, or of this process's host: torch's CPU allocator raises a plain RuntimeError."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in str(error)


def _pointer() -> Pointer | None:
    """What Tune gives a member of a population to go on from: its own state, or that of a better one."""
    from ray import tune

    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return Pointer(**json.loads((Path(folder) / POINTER).read_text()))


def _report(result: Mapping[str, Any], pointer: Pointer | None = None) -> None:
    """Tune gives nested mappings back as flat ones, so what is nested goes as JSON."""
    from ray import tune

    if pointer is None:
        tune.report(dict(result))
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / POINTER).write_text(json.dumps(vars(pointer)))
        tune.report(dict(result), checkpoint=tune.Checkpoint.from_directory(folder))
