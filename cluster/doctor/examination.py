"""Examines a cluster: starts a check on every node, asks each all questions at once, and collects the findings."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unbraid.cluster.doctor.findings import (
    CHECK_SECONDS,
    Answers,
    Finding,
    about_clocks,
    about_data,
    about_disks,
    about_gpus,
    about_network,
    about_ports,
    about_ray,
    about_reads,
    about_resources,
    about_storage,
    about_versions,
)
from unbraid.cluster.jobs.ray import require_listener
from unbraid.cluster.jobs.server import JobError
from unbraid.datasets.untrusted.text import in_one_line

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig

JOINED = "auto"
"""The address of the cluster that this process is part of."""


def examine(config: SystemConfig, address: str) -> list[Finding]:
    """Examine a cluster that this process can join.

    Raises:
        JobError: when no cluster answers.
    """
    import ray

    try:
        if address != JOINED:
            require_listener(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise JobError(f"doctor: no cluster can be joined at {address} ({in_one_line(error)})") from None
    nodes = [node for node in ray.nodes() if node["Alive"]]
    checks = {_name(node): _start_check(node["NodeID"]) for node in nodes}
    answers = _answers(checks, config)
    findings = [
        about_ray(list(checks)),
        about_versions(answers),
        about_resources(config),
        about_gpus(config, answers),
        about_storage(config, answers),
        about_reads(config, answers),
        *about_data(config),
        *about_disks(answers),
        about_ports(answers),
        about_clocks(checks),
        about_network(config, checks, answers),
    ]
    for check in checks.values():
        ray.kill(check)
    return findings


def _start_check(node: str) -> Any:
    """Start the check on one node, an actor bound to it.

    Args:
        node: its id.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from unbraid.cluster.doctor.node_check import NodeCheck

    return ray.remote(NodeCheck).options(
        num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False), max_concurrency=4
    ).remote()  # fmt: skip


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _answers(checks: Mapping[str, Any], config: SystemConfig) -> Answers:
    """Ask all nodes all questions at once."""
    import ray

    folder = "" if "://" in config.run.storage else config.run.storage
    asked = {
        name: {
            "facts": check.facts.remote(folder),
            "gpus": check.gpus.remote(),
            "driver": check.driver.remote(),
            "transfer": check.transfer.remote(config.run.storage),
            "read": check.read.remote(config.data.url),
        }
        for name, check in checks.items()
    }
    until = time.monotonic() + CHECK_SECONDS

    def answer(reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=max(until - time.monotonic(), 0.1))
        except Exception as error:  # an error on a node is that node's answer
            return getattr(error, "cause", None) or error

    return Answers({name: {question: answer(ref) for question, ref in asked[name].items()} for name in asked})
