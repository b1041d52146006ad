"""Ray Tune's interfaces on a session: its searcher, its stopper and its callbacks only pass calls on."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from unbraid.trainers.search.trials.reports import LAST_REPORT_KEYS, OBJECTIVE, Report
from unbraid.trainers.search.trials.session import Session, loss_cause, member_id


class _NotRestored:
    """Tune pickles all its parts in order to restore them; a campaign is resumed from its journal, so these stay out."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SessionSearcher(_NotRestored, Searcher):
    """Gives Tune the session's next task whenever it asks for a trial.

    Args:
        room: number of trials that run at once.
    """

    def __init__(self, session: Session, room: int) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self._session = session
        self._room = room

    def suggest(self, trial_id: str) -> Any:
        """The configuration of Tune's next trial; None while there is none."""
        task = self._session.start_next(trial_id, self._room)
        if task is not None:
            return {"task": task}
        return Searcher.FINISHED if self._session.stop.any or self._session.plan.over else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._session.on_report(trial_id, Report.of_result(result))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._session.on_end(trial_id, Report.of_result(result), lost=error)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: a campaign is resumed from its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing: a campaign is resumed from its journal."""


class SessionStopper(_NotRestored, Stopper):
    """Stops a trial after its last report, and all trials when the session stops."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return not LAST_REPORT_KEYS.isdisjoint(result)

    def stop_all(self) -> bool:
        return self._session.should_stop()


class ErrorCallback(_NotRestored, Callback):
    """Passes on what Tune does not tell its searcher: why it gave up a trial, and that it could not start one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._session.errors[trial.trial_id] = loss_cause(trial.get_error())

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Find trials that were to reuse a process which was not free in time; Tune ends those without a word."""
        for trial in trials:
            if trial.status == Trial.ERROR and trial.trial_id in self._session.running:
                self._session.on_not_started(trial.trial_id)


class PopulationCallback(_NotRestored, Callback):
    """Passes on the reports of a population's members, for which Tune allows no searcher."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        task = trial.config["task"]
        self._session.plan.configurations[task["number"]].params = task["params"]  # new ones if it has exploited a donor
        self._session.on_report(member_id(task["number"]), Report.of_result(result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        member = member_id(trial.config["task"]["number"])
        self._session.on_end(member, Report.of_result(trial.last_result), lost=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        member = member_id(trial.config["task"]["number"])
        self._session.errors[member] = loss_cause(trial.get_error())
        self._session.on_end(member, Report.of_result(trial.last_result), lost=True)
