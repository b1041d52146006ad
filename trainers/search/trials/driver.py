"""Running a campaign: Ray Tune places, stops and restarts trials; the plan chooses them, and the journal keeps what is found.

Tune's own state is not needed to continue: an interrupted campaign is read from its storage, and its trials continue from their
own checkpoints.
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

from unbraid.trainers.config.presets import FOLDER_VARIABLE, own_folder
from unbraid.trainers.errors import ConfigError, RunError
from unbraid.trainers.launch.joining import fitted, join
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials.session import ProgressCallback, Session, StopReasons
from unbraid.trainers.search.trials.trial import run_trial
from unbraid.trainers.search.trials.tune_adapters import SessionCallback, SessionSearcher, SessionStopper

FRUITLESS = 3
"""Launches of Tune without any progress after which a campaign gives up."""

log = logging.getLogger(__name__)

# trials write their own records and the campaign prints its own table: Tune writes no second ones
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}


def run_campaign(
    journal: Journal, campaign: Campaign, address: str | None, on_progress: ProgressCallback
) -> tuple[Plan, StopReasons]:
    """Run a campaign, or continue it, until its plan is over or something stops it before.

    Args:
        address: of a Ray cluster; None starts one on this machine.
        on_progress: is called after each change of the plan, and every few seconds.

    Returns:
        The plan with everything that was found, and why the launch stopped early, if it did.

    Raises:
        ConfigError: when no cluster answers, or it is too small for a single trial.
    """
    configurations = journal.read()
    journal.repair(configurations)
    plan = Plan(campaign, configurations)
    session = Session(plan, journal, on_progress)
    session.do_requests()
    if not plan.over:
        os.environ.update(_ENVIRONMENT)
        join(address, runtime_env=_runtime_env(), logging_level=logging.ERROR, log_to_driver=False)
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        concurrency = fitted(lambda there: concurrent_trials(campaign, there), ray.cluster_resources, address)
        journal.set_status(status="running")
        with tempfile.TemporaryDirectory(prefix="unbraid-tune-") as folder, _stops_at_signals(session.stop):
            _fit(session, concurrency, folder)
    session.close()
    return plan, session.stop


def _fit(session: Session, concurrency: int, folder: str) -> None:
    """Let Tune run the session's trials until the plan is over or the launch ends; where Tune ends before, begin again.

    Raises:
        RunError: when Tune ends again and again, and nothing is found in between.
    """
    fruitless, before = 0, -1
    while fruitless <= FRUITLESS:
        _tuner(session, concurrency, folder).fit()
        if session.is_over:
            return
        log.warning("Ray Tune has ended before the campaign; it is started again")
        session.resume()
        progress = sum(trial.updates for trial in session.plan.trials())
        fruitless, before = (fruitless + 1 if progress == before else 0), progress
    raise RunError(f"Ray Tune has ended {fruitless} times without an update of any trial; the same command goes on")


def _runtime_env() -> dict[str, Any] | None:
    """The variable by which trials find the user's own presets, where the cluster was started without it.

    A job has the variable from its own environment, and Ray refuses one that is set twice.
    """
    folder = own_folder()
    return None if folder is None or "UNBRAID_JOB" in os.environ else {"env_vars": {FOLDER_VARIABLE: str(folder)}}


def _tuner(session: Session, concurrency: int, folder: str) -> tune.Tuner:
    """Tune, set up for a session. It places, stops and restarts trials; its own schedulers and search are not used.

    Args:
        folder: for Tune's own records.
    """
    campaign = session.campaign
    searcher = SessionSearcher(session, concurrency)
    return tune.Tuner(
        tune.with_resources(run_trial, _resources(campaign)),
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=campaign.resources.workers == 1),
        run_config=tune.RunConfig(
            name=f"ray-{uuid.uuid4().hex[:8]}",
            storage_path=folder,
            failure_config=tune.FailureConfig(max_failures=campaign.failures),
            stop=SessionStopper(session),
            callbacks=[SessionCallback(searcher)],
            verbose=0,
        ),
    )


def concurrent_trials(campaign: Campaign, cluster: Mapping[str, float]) -> int:
    """The number of trials that run at once: ``concurrency``, or as many as fit into the cluster's resources.

    Args:
        cluster: amounts of its resources, by Ray's names.

    Raises:
        ConfigError: when not a single trial fits.
    """
    wanted = campaign.resources
    fitting = int(cluster.get("CPU", 0)) // (wanted.cpus * wanted.workers)
    if wanted.gpus:
        fitting = min(fitting, int(cluster.get("GPU", 0) / (wanted.gpus * wanted.workers)))
    if fitting < 1:
        raise ConfigError(
            f"resources: a trial needs {wanted.cpus * wanted.workers} CPUs and {wanted.gpus * wanted.workers:g} GPUs, the "
            f"cluster has {cluster.get('CPU', 0):g} and {cluster.get('GPU', 0):g}: lower resources, or use a larger cluster"
        )
    return min(campaign.concurrency or fitting, fitting)


def _resources(campaign: Campaign) -> tune.PlacementGroupFactory | dict[str, float]:
    """What Tune reserves for a trial."""
    wanted = campaign.resources
    if wanted.workers == 1:
        return {"CPU": wanted.cpus} | ({"GPU": wanted.gpus} if wanted.gpus else {})
    return {"memory": 1 << 20}  # the worker group reserves its own CPUs and GPUs, and Tune needs some resource


@contextmanager
def _stops_at_signals(reasons: StopReasons) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops the launch in order, the second raises KeyboardInterrupt."""

    def handle(number: int, frame: Any) -> None:
        if reasons.interrupted:
            raise KeyboardInterrupt
        reasons.interrupted = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
