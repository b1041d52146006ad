"""Which cluster a command speaks to, and following a job of it."""

from __future__ import annotations

import os

import click

from unbraid.cluster.jobs.server import Job, JobError, JobServer
from unbraid.cluster.local.services import use_local_services


def job_server(address: str | None, kube: bool) -> JobServer:
    """Return the job server that the options ``--address`` and ``--kube`` name.

    Raises:
        JobError: when none is named, or it does not answer.
    """
    local_address = use_local_services(address)
    if kube:
        from unbraid.cluster.jobs.kube import KubeJobServer

        if address is not None:
            raise click.UsageError("--address names a Ray cluster, --kube asks Kubernetes: leave one out")
        return KubeJobServer()
    from unbraid.cluster.jobs.ray import RayJobServer

    return RayJobServer(cluster_address(address, local_address))


def cluster_address(address: str | None, local_address: str | None) -> str:
    """Return the address of the Ray cluster: the option's, else of RAY_ADDRESS, else the local services'.

    Raises:
        JobError: when nothing names one.
    """
    found = address or os.environ.get("RAY_ADDRESS") or local_address
    if found is None or found == "auto":
        raise JobError("no cluster is named: give --address, set RAY_ADDRESS, or start one here with `unbraid local up`")
    return found


def is_on_this_machine(address: str) -> bool:
    """Tell whether a cluster shares this machine's files, as far as its address says."""
    host = address.rpartition("://")[2].rpartition(":")[0]
    return host in ("127.0.0.1", "localhost", "[::1]")


def job_or_newest(server: JobServer, identifier: str | None) -> Job:
    """Return the job that is named, else the newest.

    Raises:
        JobError: when there is none.
    """
    if identifier is not None:
        return server.job(identifier)
    jobs = server.jobs()
    if not jobs:
        raise JobError(f"{server.address} has no jobs yet; `unbraid submit train …` starts one")
    return jobs[0]


def follow(server: JobServer, identifier: str) -> int:
    """Print a job's output until it has ended; Ctrl-C leaves the job running.

    Returns:
        The job's exit status; 0 after Ctrl-C.
    """
    try:
        job = server.follow(identifier, lambda text: click.echo(text, nl=False), lambda text: click.echo(text, err=True))
    except KeyboardInterrupt:
        click.echo(f"\ndetached: the job runs on; follow it again: unbraid jobs logs {server.option}-f {identifier}", err=True)
        return 0
    cause = f": {job.cause}" if job.cause else ""
    click.echo(f"job {job.id} {job.status.lower()}{cause}", err=True)
    if job.status == "FAILED":
        click.echo(f"go on with it: unbraid jobs retry {server.option}{job.id}", err=True)
    return job.result
