"""Running a campaign: Ray Tune places, stops and restarts trials; the plan says what they are, the journal keeps the findings.

Nothing that Tune keeps is needed to go on: a campaign that is cut is read from its storage, and its trials go on from their own
checkpoints.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from unbraid.trainers.config.presets import FOLDER_VARIABLE, own_folder
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.sections import Pbt
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials.schedulers import scheduler_for
from unbraid.trainers.search.trials.session import Ending, Session, Watcher, error_text, member_id
from unbraid.trainers.search.trials.trial import OBJECTIVE, run_trial

# trials write their own records; Tune's would be a second truth, and its output a second table
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "20",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}


def run_campaign(journal: Journal, campaign: Campaign, address: str | None, watcher: Watcher) -> tuple[Plan, Ending]:
    """Go on with a campaign until its plan is over, or something ends it before.

    Args:
        address: of a Ray cluster; None starts one here.
        watcher: told whenever something has happened, and every few seconds.

    Raises:
        ConfigError: when the cluster holds no trial.
    """
    plan = Plan(campaign, journal.read())
    session = Session(campaign, plan, journal, watcher)
    if not plan.over:
        os.environ.update(_ENVIRONMENT)
        ray.init(
            address=address or "local",
            runtime_env=_runtime_env(),
            logging_level=logging.ERROR,
            log_to_driver=False,
            ignore_reinit_error=True,
        )
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        concurrency = concurrent_trials(campaign, ray.cluster_resources())
        journal.set_status(status="running")
        _tune(session, concurrency)
    session.close()
    return plan, session.ending


def _runtime_env() -> dict[str, Any] | None:
    """The variable by which trials find the user's own presets, where the cluster was started without it.

    A job has the variable from its own environment, and Ray refuses one that is set twice.
    """
    folder = own_folder()
    return None if folder is None or "UNBRAID_JOB" in os.environ else {"env_vars": {FOLDER_VARIABLE: str(folder)}}


def _tune(session: Session, concurrency: int) -> None:
    campaign, journal = session.campaign, session.journal
    past = [trial for trial in session.plan.trials() if trial.rungs]
    with tempfile.TemporaryDirectory(prefix="unbraid-tune-") as folder, _interruptible(session.ending):
        population = isinstance(campaign.scheduler, Pbt)
        tuner = tune.Tuner(
            tune.with_resources(run_trial, _resources(campaign)),
            # a population is there from the start, which is how Tune wants it
            param_space={"task": tune.grid_search(session.population())} if population else {},
            tune_config=tune.TuneConfig(
                search_alg=None if population else _Search(session, concurrency),
                scheduler=scheduler_for(campaign, past),
                num_samples=1 if population else -1,
                reuse_actors=campaign.resources.workers == 1,
            ),
            run_config=tune.RunConfig(
                name=f"ray-{uuid.uuid4().hex[:8]}",
                storage_path=journal.store.url if population else folder,  # members on other nodes read Tune's pointers
                failure_config=tune.FailureConfig(max_failures=campaign.failures),
                stop=_Ends(session),
                callbacks=[_Members(session) if population else _Errors(session)],
                verbose=0,
            ),
        )
        tuner.fit()


def concurrent_trials(campaign: Campaign, there: Mapping[str, float]) -> int:
    """Trials at once: as many as asked for and as the cluster holds.

    Raises:
        ConfigError: when it does not hold a single one.
    """
    wanted = campaign.resources
    holds = int(there.get("CPU", 0)) // (wanted.cpus * wanted.workers)
    if wanted.gpus:
        holds = min(holds, int(there.get("GPU", 0) / (wanted.gpus * wanted.workers)))
    if holds < 1:
        raise ConfigError(
            f"resources: a trial needs {wanted.cpus * wanted.workers} CPUs and {wanted.gpus * wanted.workers:g} GPUs, the "
            f"cluster has {there.get('CPU', 0):g} and {there.get('GPU', 0):g}: lower resources, or use a larger cluster"
        )
    return min(campaign.concurrency or holds, holds)


def _resources(campaign: Campaign) -> tune.PlacementGroupFactory | dict[str, float]:
    wanted = campaign.resources
    if wanted.workers == 1:
        return {"CPU": wanted.cpus} | ({"GPU": wanted.gpus} if wanted.gpus else {})
    return {"memory": 1 << 20}  # the worker group asks for its own CPUs and GPUs; Tune wants some resource


class _OfThisLaunch:
    """Tune pickles all that it is given, to restore it some day; here the journal is what is resumed from."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Search(_OfThisLaunch, Searcher):
    """Tune's question for the next trial, answered by the plan."""

    def __init__(self, session: Session, room: int) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self._session = session
        self._room = room

    def suggest(self, trial_id: str) -> Any:
        task = self._session.start(trial_id, self._room)
        if task is not None:
            return {"task": task}
        return Searcher.FINISHED if self._session.ending.comes or self._session.plan.over else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._session.result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._session.complete(trial_id, result, error)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def save(self, checkpoint_path: str) -> None:
        """The journal is what is resumed from."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal is what is resumed from."""


class _Ends(_OfThisLaunch, Stopper):
    """Ends a trial that has said how it ended; everything at Ctrl-C, at trouble that all trials share, and when time is up."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return "outcome" in result  # nothing more will come of it

    def stop_all(self) -> bool:
        return self._session.tick()


class _Errors(_OfThisLaunch, Callback):
    """Keeps what Tune says of a trial that it gave up."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._session.errors[trial.trial_id] = error_text(trial.get_error())


class _Members(_OfThisLaunch, Callback):
    """What the searcher hears of trials, for a population, which Tune allows no searcher."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        task = trial.config["task"]
        self._session.plan.configurations[task["number"]].params = task["params"]  # what it took over, if anything
        self._session.result(member_id(task["number"]), result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._session.complete(member_id(trial.config["task"]["number"]), trial.last_result, error=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        member = member_id(trial.config["task"]["number"])
        self._session.errors[member] = error_text(trial.get_error())
        self._session.complete(member, trial.last_result, error=True)


@contextmanager
def _interruptible(ending: Ending) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) stops in order, the second at once."""

    def stop(number: int, frame: Any) -> None:
        if ending.interrupted:
            raise KeyboardInterrupt
        ending.interrupted = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
