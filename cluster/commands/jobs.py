"""``unbraid jobs``: list, follow, stop and retry the jobs of a cluster."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

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
from unbraid.datasets.untrusted.text import in_one_line

if TYPE_CHECKING:
    from unbraid.cluster.jobs.server import Job
    from unbraid.trainers.runs.summary import Summary

READERS = 16
"""Runs that are read at a time."""
SHOWN = 100
"""Characters of why a run cannot be read."""
LONGEST_COMMAND = 10_000


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

    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(_state, server.jobs()))
    if as_json:
        click.echo(json.dumps([_as_dict(state) for state in found], indent=2))
        return
    if not found:
        click.echo(f"no jobs on {server.address} yet; `unbraid submit train …` starts one")
        return
    head = ("JOB", "STATUS", "BY", "STARTED", *STATUS_HEAD, "")
    click.echo(aligned([head, *map(_row, found)]))


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
    found = _state(job_or_newest(server, job))
    if as_json:
        click.echo(json.dumps(_as_dict(found), indent=2))
        return
    click.echo(_status_text(found))


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
    run = _state(found).run
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
    owner = found.metadata.get("user")
    click.echo(f"job {found.id} on {server.address}" + (f", as {owner} submitted it" if owner else ""))
    if not detach:
        sys.exit(follow(server, found.id))


class JobState(NamedTuple):
    """A job, and how far its run is.

    Attributes:
        run: None when it has none, or its storage cannot be read from here.
        problem: why its run cannot be read, where that is not for a storage that has no such run.
    """

    job: Job
    run: Summary | None
    problem: str = ""


def _state(job: Job) -> JobState:
    """Read how far a job's run is. Anybody may have written the job and the run: neither ends the list of all jobs."""
    if "run" not in job.metadata:
        return JobState(job, None)
    from unbraid.trainers.runs.open import open_run
    from unbraid.trainers.runs.summary import summarise

    try:
        return JobState(job, summarise(open_run(job.metadata["storage"], job.metadata["run"]), job.metadata["run"]))
    except Exception as error:  # whatever a stranger's files have caused
        problem = "" if isinstance(error, DataError) and "no such" in str(error) else in_one_line(error, SHOWN)
        return JobState(job, None, f"its run cannot be read: {problem}" if problem else "")


def _row(state: JobState) -> tuple[str, ...]:
    job, run, problem = state
    cells = status_cells(run) if run else StatusCells()
    return (job.id, job.status, job.metadata.get("user", "-"), clock_time(job.started), *cells, job.cause or problem)


def _status_text(state: JobState) -> str:
    from unbraid.trainers.runs.events import read_events
    from unbraid.trainers.runs.summary import store_of

    job, run, problem = state
    ended = f", ended {clock_time(job.ended)}" if job.ended else ""
    command = in_one_line(job.entrypoint, LONGEST_COMMAND)
    lines = [f"job {job.id}: {job.status}", f"command: {command}", f"started {clock_time(job.started)}{ended}"]
    if job.cause:
        lines.append(f"cause: {job.cause}")
    elif job.status == "PENDING":
        lines.append(f"waits: {in_one_line(job.message)}")
    commit = job.metadata.get("git_commit", "")[:10]
    if commit:
        changes = " with changes" if job.metadata.get("git_dirty") == "true" else ""
        digest = f" ({job.work.tree[:12]})" if job.work.tree else ""
        lines.append(f"tree {commit}{changes}{digest}, by {job.work.owner or '-'}")
    if problem:
        lines.append(problem)
    if run is not None:
        lines += [*status_lines(run), *event_lines(read_events(store_of(run)))]
    return "\n".join(lines)


def _as_dict(state: JobState) -> dict[str, Any]:
    job = state.job
    content: dict[str, Any] = {
        "id": job.id, "status": job.status, "cause": job.cause or state.problem, "entrypoint": job.entrypoint,
        "started": job.started, "ended": job.ended, "metadata": dict(job.metadata),
    }  # fmt: skip
    if state.run is not None:
        content["run"] = state.run.as_dict()
    return content
