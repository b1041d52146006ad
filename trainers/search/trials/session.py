"""One launch of a campaign: what runs now, what comes of it, and the clock. It knows nothing of Ray's classes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import RunError
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Assignment, Plan
from unbraid.trainers.search.trials.retention import prune

Watcher = Callable[[Plan], None]


@dataclass
class Ending:
    """Why a campaign stops before its plan is over, if it does.

    Attributes:
        interrupted: by Ctrl-C.
        halted: by trouble that all trials share, such as a full disk.
        out_of_time: ``budget.minutes`` are used up.
    """

    interrupted: bool = False
    halted: str = ""
    out_of_time: bool = False

    @property
    def comes(self) -> bool:
        """Whether trials that run now are cut."""
        return self.interrupted or bool(self.halted) or self.out_of_time


@dataclass
class Session:
    """One launch of a campaign: what runs now, and the clock."""

    campaign: Campaign
    plan: Plan
    journal: Journal
    watcher: Watcher
    ending: Ending = field(default_factory=Ending)
    running: dict[str, Assignment] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._earlier = float(self.journal.status().get("seconds", 0.0))
        self._started = time.monotonic()
        self._watched = 0.0

    @property
    def seconds(self) -> float:
        """Of all launches together."""
        return self._earlier + time.monotonic() - self._started

    def population(self) -> list[dict[str, Any]]:
        """Every member that has not ended, at once; they are known by their numbers, see :func:`member_id`."""
        tasks = []
        while (task := self.start(None, self.campaign.most_trials)) is not None:
            tasks.append(task)
        return tasks

    def start(self, trial_id: str | None, room: int) -> dict[str, Any] | None:
        """The next task, written to the journal before it is given away; None when there is none or no room."""
        if self.ending.comes or len(self.running) >= room:
            return None
        try:
            return self._start(trial_id)
        except DataError as error:  # a storage that cannot be written ends the campaign in order
            self.ending.halted = str(error)
            return None

    def _start(self, trial_id: str | None) -> dict[str, Any] | None:
        known = len(self.plan.configurations)
        before = {c.number for c in self.plan.configurations if c.given_up}
        assignment = self.plan.next()
        for given_up in [c for c in self.plan.configurations if c.given_up and c.number not in before]:
            self.journal.write_configuration(given_up)
        if assignment is None:
            return None
        configuration = self.plan.configurations[assignment.number]
        if len(self.plan.configurations) > known:
            self.journal.write_configuration(configuration)
        if assignment.kind == "train":
            self.journal.write_trial(self.plan.trial(assignment.number, assignment.seed))
        self.running[trial_id or member_id(assignment.number)] = assignment
        self.watcher(self.plan)
        return {
            "campaign": self.campaign.model_dump(mode="json"),
            "kind": assignment.kind,
            "number": assignment.number,
            "seed": assignment.seed,
            "params": configuration.params,
        }

    def result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """A trial reported something."""
        if result.get("halt"):
            self.ending.halted = str(result["halt"])
        assignment = self.running.get(trial_id)
        if assignment is not None and assignment.kind == "train" and "scores" in result:
            trial = self.plan.trial(assignment.number, assignment.seed)
            trial.seconds = result["seconds"]
            self.plan.measured(trial, result["updates"], json.loads(result["scores"]))
        self.watcher(self.plan)

    def complete(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """A trial is over, or cut."""
        assignment = self.running.pop(trial_id, None)
        if assignment is None:
            return
        try:
            self._complete(assignment, trial_id, result or {}, error)
        except DataError as trouble:
            self.ending.halted = str(trouble)

    def _complete(self, assignment: Assignment, trial_id: str, result: Mapping[str, Any], error: bool) -> None:
        if result.get("halt"):
            self.ending.halted = str(result["halt"])
        outcome = result.get("outcome")
        if self.ending.comes and outcome is None:
            return  # cut: it goes on when the campaign does
        if assignment.kind == "judge":
            centrality = json.loads(result.get("centrality", "{}"))
            self.plan.judged(assignment.number, {int(seed): value for seed, value in centrality.items()})
            self.journal.write_configuration(self.plan.configurations[assignment.number])
        else:
            trial = self.plan.trial(assignment.number, assignment.seed)
            self._end(trial, result, "lost" if error else outcome, trial_id)
        prune(self.journal, self.campaign, self.plan.configurations)
        self.journal.set_status(seconds=self.seconds)
        self.watcher(self.plan)

    def _end(self, trial: Trial, result: Mapping[str, Any], outcome: str | None, trial_id: str) -> None:
        trial.seconds = max(trial.seconds, result.get("seconds", 0.0))
        if "scores" in result:  # the result that ends a trial comes here only
            self.plan.measured(trial, result["updates"], json.loads(result["scores"]))
        if outcome == "finished":
            self.plan.ended(trial, "finished")
        elif outcome == "failed":
            self.plan.ended(trial, "failed", result["cause"])
        elif outcome == "lost":
            self.plan.ended(trial, "failed", self.errors.get(trial_id, "lost"))
        else:
            self.plan.ended(trial, "stopped", f"by the scheduler after {trial.updates} updates")
        self.journal.write_trial(trial)

    def tick(self) -> bool:
        """Look at the clock; whether everything is to stop."""
        minutes = self.campaign.budget.minutes
        if minutes is not None and self.seconds > 60 * minutes:
            self.ending.out_of_time = True
        now = time.monotonic()
        if now - self._watched > 2:
            self._watched = now
            self.watcher(self.plan)
        return self.ending.comes

    def close(self) -> None:
        """Note how this launch ended."""
        over = self.plan.over or (self.ending.out_of_time and not self.ending.halted)
        status = "finished" if over else "failed" if self.ending.halted else "interrupted"
        try:
            self.journal.set_status(status=status, seconds=self.seconds, message=self.ending.halted)
        except DataError as error:  # a full disk: what was written before is whole
            if not self.ending.halted:
                raise RunError(f"the campaign's status could not be written: {error}") from error


def member_id(number: int) -> str:
    """By which a member of a population is known among what runs."""
    return f"member-{number}"


def error_text(error: BaseException) -> str:
    """``lost: …``, or ``out of memory: …`` where Ray says so."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    word = "out of memory" if "OutOfMemory" in type(error).__name__ else "lost"
    return f"{word}: {lines[-1].strip() if lines else type(error).__name__}"
