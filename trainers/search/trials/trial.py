"""One trial in its process: the same training as ``unbraid train``, with its evaluations reported to Ray Tune."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import FATAL, CheckpointError, CollapseError, ConfigError, DivergenceError, RunError
from unbraid.trainers.launch.here import train_here
from unbraid.trainers.launch.preflight import is_finished, preflight
from unbraid.trainers.launch.ray_train import train_on_ray
from unbraid.trainers.runs.going_back import go_back, lost_updates
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import measures_of, read_run, run_status, write_run
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Descent, trial_name
from unbraid.trainers.search.trials.comparison import compare_models
from unbraid.trainers.search.trials.memory import free_memory, limit_arenas
from unbraid.trainers.search.trials.pbt import exploit
from unbraid.trainers.search.trials.reports import Outcome, Report, send

REUSE_TIMEOUT_SECONDS = 60
"""How long Tune waits for a trial's thread to end before it gives the process to the next trial; its default is 2."""
HEARTBEAT_SECONDS = 30
"""Between two signs of life of a trial that is not evaluated meanwhile."""


def run_trial(config: Mapping[str, Any]) -> None:
    """Do one task of a campaign; Ray Tune calls this in a new process, or in one that has run other trials.

    Args:
        config: ``task``, a mapping of ``campaign``, ``kind``, ``number``, ``seed``, ``params`` and
            ``descent``, see :meth:`~unbraid.trainers.search.trials.session.Session.start_next`.
    """
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", str(REUSE_TIMEOUT_SECONDS))  # Tune reads it here, not in the driver
    limit_arenas()
    task = config["task"]
    campaign = Campaign.model_validate(task["campaign"])
    try:
        if task["kind"] == "compare":
            send(Report(outcome="compared", centrality=compare_models(campaign, task["number"])))
        else:
            descent = None if task["descent"] is None else Descent(**task["descent"])
            Training(campaign, task["number"], task["seed"], task["params"], descent).run()
    finally:
        free_memory()


class Training:
    """The training of one seed of one configuration.

    Args:
        number: of the configuration.
        seed: number of the seed within the configuration.
        params: values of the space's active dimensions.
        descent: the donor's state from which it goes on; None keeps its own.
    """

    def __init__(
        self, campaign: Campaign, number: int, seed: int, params: Mapping[str, Any], descent: Descent | None = None
    ) -> None:
        self.campaign = campaign
        self.name = trial_name(number, seed)
        self.params = dict(params)
        self.descent = descent
        self.config = campaign.trial_config(self.params, seed, self.name)
        self.store = open_run(self.config.run.storage, self.name)
        self._started = self._heard = time.monotonic()
        self._earlier_seconds = 0.0

    def run(self) -> None:
        """Train to the end, or as far as possible, and report the outcome."""
        try:
            self._prepare()
        except (ConfigError, DataError) as error:
            send(Report(shared_trouble=str(error)))
            return
        if run_status(self.store) == "failed":  # in an earlier launch, which was killed before it knew
            self._send_failure(read_run(self.store)["message"])
            return
        try:
            if not is_finished(self.config, self.store):
                with self._stop_recorded():
                    self._train()
        except RunError as error:
            self._fail(error.__cause__ if isinstance(error.__cause__, FATAL) else error)
        except ConfigError as error:
            self._fail(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._fail(error)
        else:
            self._finish()

    def _prepare(self) -> None:
        if self.descent is not None:
            exploit(self.config, self.descent)
        preflight(self.config, f"tune {self.campaign.name} {self.name}")
        over = is_finished(self.config, self.store) or run_status(self.store) == "failed"
        if not over and lost_updates(self.store):
            go_back(self.store, self.config, 0)  # a trial without its checkpoints is made again
        self._earlier_seconds = read_run(self.store).get("seconds", 0.0)

    def _train(self) -> None:
        if self.config.run.workers > 1:
            train_on_ray(self.config, None, self)
        else:
            train_here(self.config, self)

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Handle a line of the run's metrics: report an evaluation, or now and then that it trains; Tune may end it then."""
        scores = measures_of(line)
        if scores and line["step"] < self.config.run.updates:
            self._send_scores(line["step"], scores)
        elif time.monotonic() - self._heard > HEARTBEAT_SECONDS:
            self._heard = time.monotonic()
            send(Report(updates=line["step"], seconds=self._seconds))

    def _send_scores(self, updates: int, scores: Mapping[str, float], outcome: Outcome | None = None) -> None:
        send(Report(updates=updates, scores=scores, seconds=self._seconds, outcome=outcome))

    def _send_failure(self, cause: str) -> None:
        send(Report(outcome="failed", cause=cause, seconds=self._seconds))

    def _finish(self) -> None:
        run = read_run(self.store)
        write_run(self.store, {"seconds": self._seconds})
        self._send_scores(run["step"], run["evaluation"], outcome="finished")

    def _fail(self, error: BaseException) -> None:
        """Record and report a failure that a repetition would meet again; trouble with the storage concerns all trials."""
        if isinstance(error, DataError | CheckpointError):
            send(Report(shared_trouble=f"trial {self.name}: {error}"))
            return
        cause = failure_cause(error)
        write_run(self.store, {"status": "failed", "message": cause, "ended": time.time(), "seconds": self._seconds})
        self._send_failure(cause)

    @contextmanager
    def _stop_recorded(self) -> Iterator[None]:
        """Tune stops a trial by raising SystemExit out of a report; by then, what was trained is in the storage."""
        try:
            yield
        except SystemExit:
            write_run(self.store, {"status": "stopped", "ended": time.time(), "seconds": self._seconds})
            raise

    @property
    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._started


def failure_cause(error: BaseException) -> str:
    """The cause of a failure in one line, such as ``diverged: …``; tables show the words before the colon."""
    kinds: dict[type[BaseException], str] = {
        CollapseError: "collapsed",
        DivergenceError: "diverged",
        ConfigError: "invalid",
        MemoryError: "out of memory",
    }
    word = next((word for kind, word in kinds.items() if isinstance(error, kind)), None)
    if word is None:
        word = "out of memory" if is_out_of_memory(error) else "failed"
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return line if line.startswith(f"{word}: ") else f"{word}: {line}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host ran out of memory, for which torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in str(error)
