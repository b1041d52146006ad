"""Running campaigns on the session's Ray, and finding the processes that train their trials."""

from contextlib import suppress

import psutil
import ray

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.plan.plan import Plan
from unbraid.trainers.search.trials.driver import run_campaign
from unbraid.trainers.search.trials.session import StopReasons


def run(planned: Campaign, address: str) -> tuple[Journal, Plan, StopReasons]:
    journal = Journal.claim(planned, "test")
    plan, stop = run_campaign(journal, planned, address, lambda plan: None)
    return journal, plan, stop


def trials_of(configurations: list[Configuration]) -> dict[str, Trial]:
    return {trial.name: trial for c in configurations for trial in c.trials.values()}


def trial_processes() -> list[psutil.Process]:
    """Processes of this session's Ray that train trials."""
    (socket,) = {node["RayletSocketName"] for node in ray.nodes() if node["Alive"]}
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        with suppress(psutil.Error):
            if any("ImplicitFunc" in part for part in process.info["cmdline"] or ()):
                raylet = psutil.Process(process.info["ppid"])
                if any(socket in part for part in raylet.cmdline()):
                    found.append(process)
    return found
