"""``unbraid jobs``: what runs on a cluster, where it stands, and how to stop it or go on with it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.submit import address_option, cluster_address, connect, follow, newest_job
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import in_one_line
from unbraid.trainers.runs.progress import aligned

if TYPE_CHECKING:
    from unbraid.cluster.jobs.kube import KubeServer
    from unbraid.cluster.jobs.ray import Job, JobServer
    from unbraid.trainers.runs.summary import Summary

EVENTS_SHOWN = 8


@click.group()
def jobs() -> None:
    """Jobs on a Ray cluster: list, follow, stop, go on.

    \b
    Examples:
      unbraid jobs list
      unbraid jobs logs -f train-mine-1a2b3c4d
      unbraid jobs stop train-mine-1a2b3c4d      a checkpoint first
      unbraid jobs retry train-mine-1a2b3c4d     from the newest checkpoint
    """


kube_option = click.option("--kube", is_flag=True, help="RayJobs on Kubernetes, as `submit --kube` makes them.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@jobs.command("list")
@address_option
@kube_option
@json_option
def list_jobs(address: str | None, kube: bool, as_json: bool) -> None:
    """All jobs of the cluster, newest first, each with where its run stands.

    \b
    Example:
      unbraid jobs list --address http://head:8265
    """
    server = _server(address, kube)
    found = server.jobs()
    standing = [_summary(job) for job in found]
    if as_json:
        click.echo(json.dumps([_as_dict(job, run) for job, run in zip(found, standing, strict=True)], indent=2))
        return
    if not found:
        click.echo(f"no jobs on {server.address} yet; `unbraid submit train …` starts one")
        return
    head = ("JOB", "STATUS", "BY", "STARTED", "UPDATE", "IMAGES/S", "LEFT", "CHECKPOINT", "")
    click.echo(aligned([head, *(_row(job, run) for job, run in zip(found, standing, strict=True))]))


@jobs.command()
@click.argument("job", required=False)
@address_option
@kube_option
@json_option
def status(job: str | None, address: str | None, kube: bool, as_json: bool) -> None:
    """One job, by default the newest: where its run stands, what happened to it, why it ended.

    \b
    Example:
      unbraid jobs status train-mine-1a2b3c4d
    """
    server = _server(address, kube)
    found = newest_job(server, job)
    run = _summary(found)
    if as_json:
        click.echo(json.dumps(_as_dict(found, run), indent=2))
        return
    click.echo(_status_text(found, run))


@jobs.command()
@click.argument("job", required=False)
@click.option("-f", "--follow", "following", is_flag=True, help="Until it ends; then exit with its result.")
@address_option
@kube_option
def logs(job: str | None, following: bool, address: str | None, kube: bool) -> None:
    """What a job, by default the newest, has printed.

    \b
    Example:
      unbraid jobs logs -f train-mine-1a2b3c4d
    """
    server = _server(address, kube)
    found = newest_job(server, job)
    if following:
        sys.exit(follow(server, found.id))
    click.echo(server.logs(found.id), nl=False)


@jobs.command()
@click.argument("job")
@address_option
@kube_option
def stop(job: str, address: str | None, kube: bool) -> None:
    """Stop a job: it saves a checkpoint first.

    \b
    Example:
      unbraid jobs stop train-mine-1a2b3c4d
    """
    server = _server(address, kube)
    found = server.stop(job)
    run = _summary(found)
    saved = f"; its checkpoint of update {run.checkpoint} is complete" if run and run.checkpoint is not None else ""
    again = "submit the same again" if kube else f"unbraid jobs retry {found.id}"
    click.echo(f"job {found.id} is {found.status.lower()}{saved}\ngo on: {again}")


@jobs.command()
@click.argument("job")
@click.option("--detach", is_flag=True, help="Say the job's name and leave.")
@address_option
@kube_option
def retry(job: str, detach: bool, address: str | None, kube: bool) -> None:
    """Go on with a job that failed, was stopped, or was lost with its cluster's head.

    \b
    Example:
      unbraid jobs retry train-mine-1a2b3c4d
    """
    server = _server(address, kube)
    found = server.retry(job)
    click.echo(f"job {found.id} on {server.address}")
    if not detach:
        sys.exit(follow(server, found.id))


def standing_cells(run: Summary) -> tuple[str, str, str, str]:
    """Update, images a second, time left, and checkpoint with its age: the same in every table."""
    live = run.status == "running"
    checkpoint = "-" if run.checkpoint is None else str(run.checkpoint)
    if run.checkpoint_age is not None:
        checkpoint += f", {duration(run.checkpoint_age)} ago"
    return (
        f"{run.step}/{run.updates}",
        f"{run.images:.0f}" if live and run.images else "-",
        duration(run.seconds_left) if run.seconds_left is not None else "-",
        checkpoint,
    )


def duration(seconds: float) -> str:
    """``43 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    for limit, unit, size in ((100, "s", 1), (6000, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86_400:.1f} d"


def events_text(events: Iterable[dict[str, Any]]) -> str:
    """One line each, oldest first."""
    return "\n".join(
        f"  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event['time']))}  {event['kind']}: {event['message']}"
        for event in events
    )


def _server(address: str | None, kube: bool) -> JobServer | KubeServer:
    local = use_local_services()
    if kube:
        from unbraid.cluster.jobs.kube import KubeServer

        if address is not None:
            raise click.UsageError("--address names a Ray cluster, --kube asks Kubernetes: leave one out")
        return KubeServer()
    return connect(cluster_address(address, local))


def _summary(job: Job) -> Summary | None:
    """Where the job's run stands; None when it has none, or its storage cannot be read from here."""
    if "run" not in job.metadata:
        return None
    from unbraid.trainers.runs.open import open_run
    from unbraid.trainers.runs.summary import summarise

    try:
        return summarise(open_run(job.metadata["storage"], job.metadata["run"]), job.metadata["run"])
    except DataError:
        return None


def _row(job: Job, run: Summary | None) -> tuple[str, ...]:
    from unbraid.cluster.commands.submit import clock_time

    standing = standing_cells(run) if run else ("-", "-", "-", "-")
    return (job.id, job.status, job.metadata.get("user", "-"), clock_time(job.started), *standing, job.cause)


def _status_text(job: Job, run: Summary | None) -> str:
    from unbraid.cluster.commands.submit import clock_time
    from unbraid.trainers.runs.events import read_events
    from unbraid.trainers.runs.summary import store_of

    lines = [f"job {job.id}: {job.status}", f"command: {job.entrypoint}", f"started {clock_time(job.started)}"]
    if job.ended:
        lines[-1] += f", ended {clock_time(job.ended)}"
    if job.cause:
        lines.append(f"cause: {job.cause}")
    elif job.status == "PENDING":
        lines.append(f"waits: {in_one_line(job.message)}")
    commit = job.metadata.get("git_commit", "")[:10]
    if commit:
        lines.append(
            f"tree {commit}{' with changes' if job.metadata.get('git_dirty') == 'true' else ''}, by {job.metadata['user']}"
        )
    if run is None:
        return "\n".join(lines)
    update, images, left, checkpoint = standing_cells(run)
    lines.append(f"run {run.name} in {run.url}: {run.status}{', ' + run.message if run.message else ''}")
    lines.append(f"update {update}  {images} images/s  left {left}  checkpoint {checkpoint}  started {run.starts} times")
    if run.holder:
        lines.append(f"trained by {run.holder}")
    events = read_events(store_of(run))
    if events:
        lines.append(f"what happened{', the newest' if len(events) > EVENTS_SHOWN else ''}:")
        lines.append(events_text(events[-EVENTS_SHOWN:]))
    return "\n".join(lines)


def _as_dict(job: Job, run: Summary | None) -> dict[str, Any]:
    about: dict[str, Any] = {
        "id": job.id, "status": job.status, "cause": job.cause, "entrypoint": job.entrypoint, "started": job.started,
        "ended": job.ended, "metadata": dict(job.metadata),
    }  # fmt: skip
    if run is not None:
        about["run"] = run.as_dict()
    return about
