"""One launch of a campaign: what runs now, what reports change in plan and journal, and the clock. No class of Ray is used."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import RunError
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Assignment, Plan
from unbraid.trainers.search.trials.reports import Report
from unbraid.trainers.search.trials.retention import apply_retention

ProgressCallback = Callable[[Plan], None]
SECONDS_BETWEEN_CALLBACKS = 2.0
"""When nothing is reported."""


@dataclass
class StopReasons:
    """Why this launch stops before its plan is over; none of them while it runs.

    Attributes:
        interrupted: by Ctrl-C or SIGTERM.
        shared_trouble: an error that all trials would meet, such as a full disk; empty when there is none.
        out_of_time: ``budget.minutes`` are used up.
    """

    interrupted: bool = False
    shared_trouble: str = ""
    out_of_time: bool = False

    @property
    def any(self) -> bool:
        """Whether the launch stops; its running trials continue in the next launch."""
        return self.interrupted or bool(self.shared_trouble) or self.out_of_time


@dataclass
class Session:
    """One launch of a campaign.

    Attributes:
        on_progress: is called after each change of the plan, and every few seconds.
        running: assignments by the id of Tune's trial, or for a population by :func:`member_id`.
        errors: what Tune says of trials that it gave up, by the same ids.
    """

    campaign: Campaign
    plan: Plan
    journal: Journal
    on_progress: ProgressCallback
    stop: StopReasons = field(default_factory=StopReasons)
    running: dict[str, Assignment] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._earlier_seconds = float(self.journal.status().get("seconds", 0.0))
        self._started = time.monotonic()
        self._called_back = 0.0

    @property
    def seconds(self) -> float:
        """Wall time of all launches together."""
        return self._earlier_seconds + time.monotonic() - self._started

    def start_population(self) -> list[dict[str, Any]]:
        """Start every member that has not ended; returns their tasks, see :meth:`start_next`."""
        tasks = []
        while (task := self.start_next(None, self.campaign.max_trials)) is not None:
            tasks.append(task)
        return tasks

    def start_next(self, trial_id: str | None, room: int) -> dict[str, Any] | None:
        """The next task, which is in the journal when this returns; None when there is no task or no room.

        Args:
            trial_id: Tune's; None for a member of a population.
            room: number of trials that may run at once.
        """
        if self.stop.any or len(self.running) >= room:
            return None
        try:
            return self._start_next(trial_id)
        except DataError as error:  # a storage that cannot be written stops the campaign in order
            self.stop.shared_trouble = str(error)
            return None

    def _start_next(self, trial_id: str | None) -> dict[str, Any] | None:
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
        self.on_progress(self.plan)
        return {
            "campaign": self.campaign.model_dump(mode="json"),
            "kind": assignment.kind,
            "number": assignment.number,
            "seed": assignment.seed,
            "params": configuration.params,
        }

    def on_not_started(self, trial_id: str) -> None:
        """Give a task back to the plan, because Tune did not start its trial."""
        self.plan.give_back(self.running.pop(trial_id))

    def on_report(self, trial_id: str, report: Report) -> None:
        """Record a report of a trial that still runs."""
        self._stop_at_shared_trouble(report)
        assignment = self.running.get(trial_id)
        if assignment is not None and assignment.kind == "train" and report.scores is not None:
            trial = self.plan.trial(assignment.number, assignment.seed)
            trial.seconds = report.seconds
            self.plan.record_scores(trial, report.updates, report.scores)
        self.on_progress(self.plan)

    def on_end(self, trial_id: str, last: Report, lost: bool) -> None:
        """Record that Tune has ended a trial.

        Args:
            last: the trial's last report; an empty one where it never reported.
            lost: whether Tune gave it up, because its process or node was lost too often.
        """
        assignment = self.running.pop(trial_id, None)
        if assignment is None:
            return
        try:
            self._on_end(assignment, trial_id, last, lost)
        except DataError as error:
            self.stop.shared_trouble = str(error)

    def _on_end(self, assignment: Assignment, trial_id: str, last: Report, lost: bool) -> None:
        self._stop_at_shared_trouble(last)
        if self.stop.any and last.outcome is None:
            return  # stopped with the launch: it continues in the next one
        if assignment.kind == "compare":
            self.plan.record_centrality(assignment.number, dict(last.centrality or {}))
            self.journal.write_configuration(self.plan.configurations[assignment.number])
        else:
            self._end_trial(self.plan.trial(assignment.number, assignment.seed), trial_id, last, lost)
        apply_retention(self.journal, self.campaign, self.plan.configurations)
        self.journal.set_status(seconds=self.seconds)
        self.on_progress(self.plan)

    def _end_trial(self, trial: Trial, trial_id: str, last: Report, lost: bool) -> None:
        trial.seconds = max(trial.seconds, last.seconds)
        if last.scores is not None:  # Tune passes a trial's last report to this callback only
            self.plan.record_scores(trial, last.updates, last.scores)
        if lost:
            self.plan.record_end(trial, "failed", self.errors.get(trial_id, "lost"))
        elif last.outcome == "finished":
            self.plan.record_end(trial, "finished")
        elif last.outcome == "failed":
            self.plan.record_end(trial, "failed", last.cause)
        else:
            self.plan.record_end(trial, "stopped", f"by the scheduler after {trial.updates} updates")
        self.journal.write_trial(trial)

    def _stop_at_shared_trouble(self, report: Report) -> None:
        if report.shared_trouble:
            self.stop.shared_trouble = report.shared_trouble

    def should_stop(self) -> bool:
        """Whether all trials are to be stopped now; called every moment, so it looks at the clock and reports progress too."""
        try:
            self.journal.require_lease()
        except DataError as error:
            self.stop.shared_trouble = str(error)
        minutes = self.campaign.budget.minutes
        if minutes is not None and self.seconds > 60 * minutes:
            self.stop.out_of_time = True
        now = time.monotonic()
        if now - self._called_back > SECONDS_BETWEEN_CALLBACKS:
            self._called_back = now
            self.on_progress(self.plan)
        return self.stop.any

    def close(self) -> None:
        """Write the status with which this launch ends.

        Raises:
            RunError: when it cannot be written, and no such trouble was known before.
        """
        over = self.plan.over or (self.stop.out_of_time and not self.stop.shared_trouble)
        status = "finished" if over else "failed" if self.stop.shared_trouble else "interrupted"
        try:
            self.journal.set_status(status=status, seconds=self.seconds, message=self.stop.shared_trouble)
        except DataError as error:  # a full disk: what was written before is whole
            if not self.stop.shared_trouble:
                raise RunError(f"the campaign's status could not be written: {error}") from error


def member_id(number: int) -> str:
    """The id of a population's member in :attr:`Session.running`; Tune gives such trials no searcher, and so no id in time."""
    return f"member-{number}"


def loss_cause(error: BaseException) -> str:
    """Why Tune gave up a trial: ``lost: …``, or ``out of memory: …`` where Ray says so."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    word = "out of memory" if "OutOfMemory" in type(error).__name__ else "lost"
    return f"{word}: {lines[-1].strip() if lines else type(error).__name__}"
