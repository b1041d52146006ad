"""Ray Tune's interfaces on a session: its searcher, its stopper and its callbacks only pass calls on."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from unbraid.trainers.search.trials.reports import Report
from unbraid.trainers.search.trials.session import Session, loss_cause


class _NotRestored:
    """Tune pickles all its parts in order to restore them; a campaign is resumed from its journal, so these stay out."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SessionSearcher(_NotRestored, Searcher):
    """Gives Tune the session's next task whenever it asks for a trial.

    Args:
        room: number of trials that run at once.

    Attributes:
        trials: Tune's own list; None before its first step.
    """

    def __init__(self, session: Session, room: int) -> None:
        super().__init__()
        self._session = session
        self._room = room
        self.trials: list[Any] | None = None

    def suggest(self, trial_id: str) -> Any:
        """The configuration of Tune's next trial; None while there is none.

        Tune waits in a loop around this call when it believes that nothing runs, so what it has dropped is found here too.
        """
        self.reconcile()
        task = None if self._session.should_stop() else self._session.start_next(trial_id, self._room)
        if task is not None:
            return {"task": task}
        return Searcher.FINISHED if self._session.stop.any or self._session.plan.over else None

    def reconcile(self) -> None:
        """Find trials that the session believes to run and Tune does not: it ends some without a word to its searcher.

        One case is a trial that was to reuse a process which was not free in time.
        """
        if self.trials is not None:
            self._session.reconcile(t.trial_id for t in self.trials if t.status not in (Trial.ERROR, Trial.TERMINATED))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Does nothing: :class:`SessionStopper` sees every result before."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        lost = next((trial for trial in self.trials or () if error and trial.trial_id == trial_id), None)
        if lost is not None and lost.status == Trial.PENDING:
            self._session.on_not_started(trial_id)  # the process that it was to reuse is gone
            return
        cause = loss_cause(None if lost is None else lost.get_error()) if error else ""
        self._session.on_end(trial_id, Report.of_result(result), lost=cause)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: a campaign is resumed from its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing: a campaign is resumed from its journal."""


class SessionStopper(_NotRestored, Stopper):
    """Hands each result to the session, which says whether its trial is to stop; stops all trials when the session stops."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._session.on_report(trial_id, Report.of_result(result))

    def stop_all(self) -> bool:
        return self._session.should_stop()


class SessionCallback(_NotRestored, Callback):
    """Shows the searcher which trials Tune holds, and compares them with what the session believes after each of its steps."""

    def __init__(self, searcher: SessionSearcher) -> None:
        self._searcher = searcher

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._searcher.trials = trials

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._searcher.reconcile()
