"""``unbraid jobs``: list, follow, stop and retry the jobs of a cluster."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.options import cluster_address_option, detach_option, json_option, kube_option
from unbraid.cluster.commands.servers import follow, job_or_newest, job_server
from unbraid.cluster.commands.tables import (
    STATUS_HEAD,
    StatusCells,
    clock_time,
    event_lines,
    status_cells,
    status_lines,
)
from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import in_one_line

if TYPE_CHECKING:
    from unbraid.cluster.jobs.server import Job
    from unbraid.trainers.runs.summary import Summary


@click.group()
def jobs() -> None:
    """Jobs on a Ray cluster: list, follow, stop, retry.

    \b
    Examples:
      unbraid jobs list
      unbraid jobs logs -f train-mine-1a2b3c4d
      unbraid jobs stop train-mine-1a2b3c4d      a checkpoint first
      unbraid jobs retry train-mine-1a2b3c4d     from the newest checkpoint
    """


@jobs.command("list")
@cluster_address_option
@kube_option
@json_option
def list_jobs(address: str | None, kube: bool, as_json: bool) -> None:
    """List all jobs, newest first, each with how far its run is.

    \b
    Example:
      unbraid jobs list --address http://head:8265
    """
    server = job_server(address, kube)
    from unbraid.trainers.runs.progress import aligned

    found = server.jobs()
    runs = [_summary(job) for job in found]
    if as_json:
        click.echo(json.dumps([_as_dict(job, run) for job, run in zip(found, runs, strict=True)], indent=2))
        return
    if not found:
        click.echo(f"no jobs on {server.address} yet; `unbraid submit train …` starts one")
        return
    head = ("JOB", "STATUS", "BY", "STARTED", *STATUS_HEAD, "")
    click.echo(aligned([head, *(_row(job, run) for job, run in zip(found, runs, strict=True))]))


@jobs.command()
@click.argument("job", required=False)
@cluster_address_option
@kube_option
@json_option
def status(job: str | None, address: str | None, kube: bool, as_json: bool) -> None:
    """Show one job, by default the newest. That is how far its run is, what happened to it, why it ended.

    \b
    Example:
      unbraid jobs status train-mine-1a2b3c4d
    """
    server = job_server(address, kube)
    found = job_or_newest(server, job)
    run = _summary(found)
    if as_json:
        click.echo(json.dumps(_as_dict(found, run), indent=2))
        return
    click.echo(_status_text(found, run))


@jobs.command()
@click.argument("job", required=False)
@click.option("-f", "--follow", "following", is_flag=True, help="Until it ends; then exit with its status.")
@cluster_address_option
@kube_option
def logs(job: str | None, following: bool, address: str | None, kube: bool) -> None:
    """Print what a job, by default the newest, has printed.

    \b
    Example:
      unbraid jobs logs -f train-mine-1a2b3c4d
    """
    server = job_server(address, kube)
    found = job_or_newest(server, job)
    if following:
        sys.exit(follow(server, found.id))
    click.echo(server.logs(found.id), nl=False)


@jobs.command()
@click.argument("job")
@cluster_address_option
@kube_option
def stop(job: str, address: str | None, kube: bool) -> None:
    """Stop a job; it saves a checkpoint first.

    \b
    Example:
      unbraid jobs stop train-mine-1a2b3c4d
    """
    server = job_server(address, kube)
    found = server.stop(job)
    run = _summary(found)
    saved = f"; its checkpoint of update {run.checkpoint} is complete" if run and run.checkpoint is not None else ""
    again = "submit the same again" if kube else f"unbraid jobs retry {found.id}"
    click.echo(f"job {found.id} is {found.status.lower()}{saved}\ngo on: {again}")


@jobs.command()
@click.argument("job")
@detach_option
@cluster_address_option
@kube_option
def retry(job: str, detach: bool, address: str | None, kube: bool) -> None:
    """Go on with a job that failed or was stopped. A run goes on from its newest checkpoint.

    \b
    Example:
      unbraid jobs retry train-mine-1a2b3c4d
    """
    server = job_server(address, kube)
    found = server.retry(job)
    click.echo(f"job {found.id} on {server.address}")
    if not detach:
        sys.exit(follow(server, found.id))


def _summary(job: Job) -> Summary | None:
    """Read how far the job's run is; None when it has no run, or its storage cannot be read from here."""
    if "run" not in job.metadata:
        return None
    from unbraid.trainers.runs.open import open_run
    from unbraid.trainers.runs.summary import summarise

    try:
        return summarise(open_run(job.metadata["storage"], job.metadata["run"]), job.metadata["run"])
    except DataError:
        return None


def _row(job: Job, run: Summary | None) -> tuple[str, ...]:
    cells = status_cells(run) if run else StatusCells()
    return (job.id, job.status, job.metadata.get("user", "-"), clock_time(job.started), *cells, job.cause)


def _status_text(job: Job, run: Summary | None) -> str:
    from unbraid.trainers.runs.events import read_events
    from unbraid.trainers.runs.summary import store_of

    ended = f", ended {clock_time(job.ended)}" if job.ended else ""
    lines = [f"job {job.id}: {job.status}", f"command: {job.entrypoint}", f"started {clock_time(job.started)}{ended}"]
    if job.cause:
        lines.append(f"cause: {job.cause}")
    elif job.status == "PENDING":
        lines.append(f"waits: {in_one_line(job.message)}")
    commit = job.metadata.get("git_commit", "")[:10]
    if commit:
        changes = " with changes" if job.metadata.get("git_dirty") == "true" else ""
        lines.append(f"tree {commit}{changes}, by {job.metadata['user']}")
    if run is not None:
        lines += [*status_lines(run), *event_lines(read_events(store_of(run)))]
    return "\n".join(lines)


def _as_dict(job: Job, run: Summary | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": job.id, "status": job.status, "cause": job.cause, "entrypoint": job.entrypoint, "started": job.started,
        "ended": job.ended, "metadata": dict(job.metadata),
    }  # fmt: skip
    if run is not None:
        content["run"] = run.as_dict()
    return content
