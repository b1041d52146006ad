"""``unbraid doctor``: check whether a run will train on a cluster, with a remedy for each problem."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import click

from unbraid.cluster.commands.options import cluster_address_option, json_option, overrides_argument
from unbraid.cluster.commands.servers import cluster_address
from unbraid.cluster.doctor.examination import JOINED, examine
from unbraid.cluster.doctor.findings import Finding
from unbraid.cluster.local.services import use_local_services

MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@click.argument("preset", default="infogan-mnist")
@overrides_argument
@cluster_address_option
@json_option
def doctor(preset: str, overrides: tuple[str, ...], address: str | None, as_json: bool) -> None:
    """Check whether the cluster can train PRESET: Ray, resources, GPUs, S3 from every node, data, disks, network, clocks.

    Exits 1 when a check fails. From outside the cluster, name its job server: the checks then run as a job.

    \b
    Examples:
      unbraid doctor
      unbraid doctor infogan-mnist run.workers=8 run.gpus=1 data.url=s3://b/mnist run.storage=s3://b/runs
      unbraid doctor --address http://head:8265 --json
    """
    from unbraid.trainers.config.overrides import resolve

    config = resolve(preset, overrides).with_absolute_folders()
    local_address = use_local_services(address)
    where = JOINED if address == JOINED else cluster_address(address, local_address)
    if "://" in where:
        sys.exit(_examine_by_job(where, [preset, *overrides], as_json))
    started = time.monotonic()
    findings = examine(config, where)
    seconds = time.monotonic() - started
    if as_json:
        click.echo(json.dumps({"seconds": seconds, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        click.echo(report_text(findings, seconds))
    sys.exit(any(finding.level == "fail" for finding in findings))


def report_text(findings: Sequence[Finding], seconds: float) -> str:
    """Format the findings: a line each, with its remedy below, and their counts."""
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


def _examine_by_job(address: str, arguments: Sequence[str], as_json: bool) -> int:
    """Run the doctor as a job, whose process can join the cluster, and print its report.

    Returns:
        The exit status.
    """
    from unbraid.cluster.jobs.ray import RayJobServer
    from unbraid.cluster.jobs.request import submission_id
    from unbraid.cluster.jobs.tree import checkout, zipped_tree

    server = RayJobServer(address)
    base = submission_id("doctor", "cluster", str(time.time()))
    options = ["--address", JOINED, *(["--json"] if as_json else [])]
    command = ["python", "-m", "unbraid.cluster.cli", "doctor", *options, *arguments]
    with zipped_tree(checkout()) as (environment, _):
        job, _ = server.submit(base, command, environment, {"kind": "doctor", "base": base, "user": getpass.getuser()})
    output: list[str] = []
    ended = server.follow(job.id, output.append, lambda text: click.echo(text, err=True))
    text = "".join(output)
    if ended.status == "SUCCEEDED" or '"findings"' in text or MARKS["fail"] in text:
        click.echo(text[text.index("{") if as_json else text.index(MARKS["pass"]) :], nl=False)  # after Ray's own lines
    else:
        click.echo(f"job {job.id} {ended.status.lower()}: {ended.cause}", err=True)
    return ended.result
