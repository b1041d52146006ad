"""One launch of a campaign: what runs now, what reports change in plan and journal, and the clock. No class of Ray is used."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import RunError
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import BY_HAND, Trial, trial_name
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.by_hand import is_to_stop
from unbraid.trainers.search.plan.plan import Assignment, Plan
from unbraid.trainers.search.schedulers.scheduler import Verdict
from unbraid.trainers.search.trials.asked import do_requests
from unbraid.trainers.search.trials.reports import Report
from unbraid.trainers.search.trials.retention import Retention

ProgressCallback = Callable[[Plan], None]
SECONDS_BETWEEN_CALLBACKS = 2.0
"""When nothing is reported."""
SECONDS_BETWEEN_REQUESTS = 10.0
"""Between two looks at what persons ask of the campaign."""
MOST_DROPS = 20
"""How often a task runs again after Tune has ended it without a word; then its trial has failed."""

log = logging.getLogger(__name__)


@dataclass
class StopReasons:
    """Why this launch stops before its plan is over; none of them while it runs.

    Attributes:
        interrupted: by Ctrl-C or SIGTERM.
        shared_trouble: an error that all trials would meet, such as a full disk; empty when there is none.
        out_of_time: ``budget.minutes`` are used up.
        silent: no trial was heard for ``silent_minutes``; the same launch begins with its trials again.
    """

    interrupted: bool = False
    shared_trouble: str = ""
    out_of_time: bool = False
    silent: bool = False

    @property
    def ends_launch(self) -> bool:
        """Whether the launch ends; its running trials continue in the next launch."""
        return self.interrupted or bool(self.shared_trouble) or self.out_of_time

    @property
    def any(self) -> bool:
        """Whether all running trials are to be stopped, to continue later."""
        return self.ends_launch or self.silent


@dataclass
class Session:
    """One launch of a campaign.

    Attributes:
        on_progress: is called after each change of the plan, and every few seconds.
        running: assignments by the id of Tune's trial.
        verdicts: what the scheduler said last of running trials, by the same ids.
        dropped: how often Tune ended a trial that nobody had ended, by the trial's name.
    """

    plan: Plan
    journal: Journal
    on_progress: ProgressCallback
    stop: StopReasons = field(default_factory=StopReasons)
    running: dict[str, Assignment] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._earlier_seconds = float(self.journal.status().get("seconds", 0.0))
        self._started = time.monotonic()
        self._called_back = 0.0
        self._retention = Retention(self.journal, self.plan)
        self._heard = self._looked = time.monotonic()

    @property
    def campaign(self) -> Campaign:
        """The campaign as it is now."""
        return self.plan.campaign

    @property
    def is_over(self) -> bool:
        """Whether the plan is over, or the launch ends before."""
        return self.plan.over or self.stop.ends_launch

    @property
    def seconds(self) -> float:
        """Wall time of all launches together."""
        return self._earlier_seconds + time.monotonic() - self._started

    def start_next(self, trial_id: str, room: int) -> dict[str, Any] | None:
        """The next task, which is in the journal when this returns; None when there is no task or no room.

        Args:
            trial_id: Tune's.
            room: number of trials that may run at once.
        """
        if self.stop.any or len(self.running) >= room:
            return None
        try:
            return self._start_next(trial_id)
        except DataError as error:
            self.stop.shared_trouble = str(error)
            return None

    def _start_next(self, trial_id: str) -> dict[str, Any] | None:
        self.settle()
        known = len(self.plan.configurations)
        before = {c.number for c in self.plan.configurations if c.given_up}
        assignment = self.plan.next()
        for given_up in [c for c in self.plan.configurations if c.given_up and c.number not in before]:
            self.journal.write_configuration(given_up)
        if assignment is None:
            return None
        configuration = self.plan.configurations[assignment.number]
        if len(self.plan.configurations) > known or assignment.descent is not None:
            self.journal.write_configuration(configuration)
        if assignment.kind == "train":
            self.journal.write_trial(self.plan.trial(assignment.number, assignment.seed))
        self.running[trial_id] = assignment
        self._heard = time.monotonic()
        self.on_progress(self.plan)
        return {
            "campaign": self.plan.campaign_of(configuration).model_dump(mode="json"),
            "kind": assignment.kind,
            "number": assignment.number,
            "seed": assignment.seed,
            "params": configuration.params,
            "descent": None if assignment.descent is None else asdict(assignment.descent),
        }

    def settle(self) -> None:
        """Record the end of paused trials that will not go on."""
        stopped = self.plan.settle()
        for trial in stopped:
            self.journal.write_trial(trial)
        if stopped:
            self._retention.apply([self.plan.configurations[trial.number] for trial in stopped])

    def do_requests(self) -> None:
        """Do what persons have asked of the campaign since."""
        with self._stopped_in_order():
            for done in do_requests(self.plan, self.journal):
                self._retention.apply([self.plan.configurations[trial.number] for trial in done.trials])

    def reconcile(self, held: Iterable[str]) -> None:
        """Give back the tasks of trials that Tune has dropped without a word, so that they run again.

        Args:
            held: ids of the trials that Tune still runs or is about to.
        """
        with self._stopped_in_order():
            for trial_id in self.running.keys() - set(held):
                self._give_back(trial_id)

    def on_not_started(self, trial_id: str) -> None:
        """Give back the task of a trial that Tune could not start, for which the trial is not to blame."""
        with self._stopped_in_order():
            if trial_id in self.running:
                self._give_back(trial_id)

    def on_report(self, trial_id: str, report: Report) -> bool:
        """Record a report of a trial; whether Tune is to stop the trial now."""
        self._heard = time.monotonic()
        self._stop_at_shared_trouble(report)
        assignment, by_hand = self.running.get(trial_id), False
        if assignment is not None and assignment.kind == "train":
            trial = self.plan.trial(assignment.number, assignment.seed)
            trial.seconds = max(trial.seconds, report.seconds)
            trial.updates = max(trial.updates, report.updates)
            if report.scores is not None:
                self.verdicts[trial_id] = self.plan.record_scores(trial, report.updates, report.scores)
            by_hand = is_to_stop(trial)
        self.on_progress(self.plan)
        return report.is_last or by_hand or self.verdicts.get(trial_id, "continue") != "continue"

    def on_end(self, trial_id: str, last: Report, lost: str = "") -> None:
        """Record that Tune has ended a trial.

        Args:
            last: the trial's last report; an empty one where it never reported.
            lost: why Tune gave it up after its process or node was lost too often; empty where it did not.
        """
        assignment = self.running.get(trial_id)
        if assignment is None:
            return
        with self._stopped_in_order():
            self._on_end(assignment, trial_id, last, lost)
        self.running.pop(trial_id, None)
        self.verdicts.pop(trial_id, None)

    def _on_end(self, assignment: Assignment, trial_id: str, last: Report, lost: str) -> None:
        self._stop_at_shared_trouble(last)
        has_verdict = self.verdicts.get(trial_id, "continue") != "continue" and not self.stop.shared_trouble
        if self.stop.any and last.outcome is None and not has_verdict:
            return  # stopped with the launch: it continues in the next one
        if assignment.kind == "compare":
            self.plan.record_centrality(assignment.number, dict(last.centrality or {}))
            self.journal.write_configuration(self.plan.configurations[assignment.number])
        else:
            self._end_trial(self.plan.trial(assignment.number, assignment.seed), trial_id, last, lost)
        self.settle()
        self._retention.apply([self.plan.configurations[assignment.number]])
        self.journal.set_status(seconds=self.seconds)
        self.on_progress(self.plan)

    def _end_trial(self, trial: Trial, trial_id: str, last: Report, lost: str) -> None:
        verdict = self.verdicts.get(trial_id, "continue")
        if last.outcome == "finished":
            self.plan.record_end(trial, "finished")
        elif last.outcome == "failed":
            self.plan.record_end(trial, "failed", last.cause)
        elif lost:
            self.plan.record_end(trial, "failed", lost)
        elif is_to_stop(trial):
            self.plan.record_end(trial, "stopped", BY_HAND)
        elif verdict == "stop":
            self.plan.record_end(trial, "stopped", f"by the scheduler after {trial.updates} updates")
        elif verdict == "pause":
            self.plan.pause(trial)
        else:
            self._give_back(trial_id)
            return
        self.journal.write_trial(trial)

    def _give_back(self, trial_id: str) -> None:
        """Let a task run again that Tune has ended or never started; after too many times its trial has failed."""
        assignment = self.running.pop(trial_id)
        self.verdicts.pop(trial_id, None)
        name = trial_name(assignment.number, assignment.seed)
        self.dropped[name] += 1
        log.warning("Ray Tune dropped %s %s without a word; it runs again", assignment.kind, name)
        if self.dropped[name] <= MOST_DROPS:
            self.plan.give_back(assignment)
        elif assignment.kind == "compare":
            self.plan.record_centrality(assignment.number, {})
            self.journal.write_configuration(self.plan.configurations[assignment.number])
        else:
            trial = self.plan.trial(assignment.number, assignment.seed)
            self.plan.record_end(trial, "failed", f"lost: Ray Tune dropped it {self.dropped[name]} times")
            self.journal.write_trial(trial)

    @contextmanager
    def _stopped_in_order(self) -> Iterator[None]:
        """Within, a storage that cannot be written stops the campaign in order."""
        try:
            yield
        except DataError as error:
            self.stop.shared_trouble = str(error)

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
        if self.running and now - self._heard > 60 * self.campaign.silent_minutes:
            self._heard = now
            self.stop.silent = True
            log.warning("no trial was heard for %g minutes; all go on from their checkpoints", self.campaign.silent_minutes)
        if now - self._looked > SECONDS_BETWEEN_REQUESTS:
            self._looked = now
            self.do_requests()
        if now - self._called_back > SECONDS_BETWEEN_CALLBACKS:
            self._called_back = now
            self.on_progress(self.plan)
        return self.stop.any

    def resume(self) -> None:
        """Take back all running tasks, because Tune has ended with them; they are given out again."""
        self.stop.silent = False
        self.running.clear()
        self.verdicts.clear()
        self.plan.give_back_all()

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


def loss_cause(error: BaseException | None) -> str:
    """Why Tune gave up a trial: ``lost: …``, or ``out of memory: …`` where Ray says so."""
    if error is None:
        return "lost"
    lines = [line for line in str(error).splitlines() if line.strip()]
    word = "out of memory" if "OutOfMemory" in type(error).__name__ else "lost"
    return f"{word}: {lines[-1].strip() if lines else type(error).__name__}"
