"""``unbraid doctor``: will a run train on this cluster? One line a question, with what to do where the answer is no."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.jobs import json_option
from unbraid.cluster.doctor.findings import (
    PROBE_SECONDS,
    Answers,
    Finding,
    about_clocks,
    about_data,
    about_disks,
    about_gpus,
    about_network,
    about_ray,
    about_reads,
    about_resources,
    about_storage,
    about_versions,
)
from unbraid.cluster.local.services import use_local_services
from unbraid.trainers.errors import in_one_line

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig

JOINED = "auto"
"""The address of the cluster that a job runs on."""
MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@click.argument("preset", default="infogan-mnist")
@click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
@click.option("--address", help="Ray cluster. Default: RAY_ADDRESS, else the local services.")
@json_option
def doctor(preset: str, overrides: tuple[str, ...], address: str | None, as_json: bool) -> None:
    """Look whether the cluster can train PRESET: Ray, resources, GPUs, S3 from every node, data, disks, network, clocks.

    Exits 1 when something fails. From outside the cluster, give its job server: it is asked there.

    \b
    Examples:
      unbraid doctor
      unbraid doctor infogan-mnist run.workers=8 run.gpus=1 data.url=s3://b/mnist run.storage=s3://b/runs
      unbraid doctor --address http://head:8265 --json
    """
    from unbraid.cluster.commands.submit import cluster_address
    from unbraid.trainers.config.overrides import resolve

    config = resolve(preset, overrides).with_absolute_folders()
    local = use_local_services()
    where = JOINED if address == JOINED else cluster_address(address, local)
    if "://" in where:
        sys.exit(_ask_there(where, [preset, *overrides], as_json))
    started = time.monotonic()
    findings = examine(config, where)
    if as_json:
        click.echo(json.dumps({"seconds": time.monotonic() - started, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        click.echo(text_of(findings, time.monotonic() - started))
    sys.exit(any(finding.level == "fail" for finding in findings))


def text_of(findings: Sequence[Finding], seconds: float) -> str:
    """One screen."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]}  {finding.subject:{width}}  {finding.text}")
        if finding.remedy:
            lines.append(f"{'':{width + 6}}  → {finding.remedy}")
    counts = {level: sum(finding.level == level for finding in findings) for level in MARKS}
    words = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    lines.append(f"{words}, in {seconds:.0f} s")
    return "\n".join(lines)


def examine(config: SystemConfig, address: str) -> list[Finding]:
    """All questions about a cluster that this process can join.

    Raises:
        JobError: when no cluster answers.
    """
    import ray

    from unbraid.cluster.jobs.ray import JobError, require_answer

    try:
        if address != JOINED:
            require_answer(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise JobError(f"doctor: no cluster can be joined at {address} ({in_one_line(error)})") from None
    nodes = [node for node in ray.nodes() if node["Alive"]]
    probes = {_name(node): _probe(node["NodeID"]) for node in nodes}
    answers = _answers(probes, config)
    findings = [
        about_ray(list(probes)),
        about_versions(answers),
        about_resources(config),
        about_gpus(config, answers),
        about_storage(config, answers),
        about_reads(config, answers),
        *about_data(config),
        *about_disks(answers),
        about_clocks(probes),
        about_network(config, probes, answers),
    ]
    for probe in probes.values():
        ray.kill(probe)
    return findings


def _probe(node: str) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from unbraid.cluster.doctor.node_check import NodeProbe

    return ray.remote(NodeProbe).options(
        num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False), max_concurrency=4
    ).remote()  # fmt: skip


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _answers(probes: Mapping[str, Any], config: SystemConfig) -> Answers:
    """Ask all nodes everything, side by side."""
    import ray

    folder = "" if "://" in config.run.storage else config.run.storage
    asked = {
        name: {
            "facts": probe.facts.remote(folder),
            "gpus": probe.gpus.remote(),
            "driver": probe.driver.remote(),
            "transfer": probe.transfer.remote(config.run.storage),
            "read": probe.read.remote(config.data.url),
        }
        for name, probe in probes.items()
    }
    until = time.monotonic() + PROBE_SECONDS

    def answer(reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=max(until - time.monotonic(), 0.1))
        except Exception as error:  # whatever a node meets is its answer
            return getattr(error, "cause", None) or error

    return Answers({name: {question: answer(ref) for question, ref in asked[name].items()} for name in asked})


def _ask_there(where: str, arguments: Sequence[str], as_json: bool) -> int:
    """Run the doctor as a job, whose process can join the cluster."""
    import tempfile

    from unbraid.cluster.commands.submit import source_folder_or_here
    from unbraid.cluster.jobs.ray import JobServer, submission_id
    from unbraid.cluster.jobs.tree import zip_tree

    server = JobServer(where)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "tree.zip"
        zip_tree(source_folder_or_here(), archive)
        command = [
            "python",
            "-m",
            "unbraid.cluster.cli",
            "doctor",
            "--address",
            JOINED,
            *(["--json"] if as_json else []),
            *arguments,
        ]
        base = submission_id("doctor", "cluster", str(time.time()))
        job, _ = server.submit(base, command, {"working_dir": str(archive)}, {"kind": "doctor", "base": base})
    printed: list[str] = []
    ended = server.follow(job.id, printed.append, lambda text: click.echo(text, err=True))
    text = "".join(printed)
    if ended.status == "SUCCEEDED" or '"findings"' in text or MARKS["fail"] in text:
        click.echo(text[text.index("{") if as_json else text.index(MARKS["pass"]) :], nl=False)  # Ray's own lines come first
    else:
        click.echo(f"job {job.id} {ended.status.lower()}: {ended.cause}", err=True)
    return ended.result
