"""``unbraid submit``: run train, tune, data or eval as a job on a cluster."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from unbraid.cluster.commands.options import cluster_address_option, detach_option, kube_option
from unbraid.cluster.commands.servers import cluster_address, follow, is_on_this_machine
from unbraid.cluster.commands.tables import clock_time
from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.cluster.jobs.rayjob import PodOptions
    from unbraid.cluster.jobs.server import Job, JobServer


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="train|tune|data|eval [ARGUMENTS]...")
@cluster_address_option
@click.option("--working-dir", type=click.Path(path_type=Path), help="Tree to upload. Default: the one this command runs from.")
@click.option("--no-upload", is_flag=True, help="Use the unbraid that is installed on the cluster.")
@click.option("--install", is_flag=True, help="Install the tree's requirements, pinned by constraints.txt, first.")
@click.option(
    "--include", metavar="PATTERN", multiple=True, help="Upload such files although they may hold keys or data. Repeatable."
)
@click.option("--max-mb", default=50.0, show_default=True, help="Refuse to upload more.")
@detach_option
@kube_option
@click.option("--overlay", help="With --kube: what the cluster has, a folder of k8s/jobs. Default: gpu.")
@click.option("--workers", type=click.IntRange(min=1), help="With --kube: worker pods. Default: as run.workers needs.")
@click.option("--gpus-per-worker", type=click.IntRange(min=0), help="With --kube: GPUs of each. Default: the overlay's.")
@click.option("--image", help="With --kube: image of all pods; the unbraid in it is what runs. Default: the overlay's.")
@click.option("--dry-run", is_flag=True, help="With --kube: print the RayJob and stop.")
def submit(
    command: tuple[str, ...],
    address: str | None,
    working_dir: Path | None,
    no_upload: bool,
    install: bool,
    include: tuple[str, ...],
    max_mb: float,
    detach: bool,
    kube: bool,
    overlay: str | None,
    workers: int | None,
    gpus_per_worker: int | None,
    image: str | None,
    dry_run: bool,
) -> None:
    """Run train, tune, data or eval as a job on a Ray cluster, and follow it to its end.

    The working tree is uploaded, without what .gitignore names, and without files that may hold keys or data, which are named;
    where unbraid is installed without its checkout, the package alone. The same command and tree submitted twice are one job:
    the second call attaches to it; when the first has failed, it goes on from the newest checkpoint. Ctrl-C detaches.

    \b
    Examples:
      unbraid submit train infogan-mnist run.workers=8 run.gpus=1 data.url=s3://b/mnist run.storage=s3://b/runs
      unbraid submit --address http://head:8265 --detach tune infogan-mnist-weights --storage s3://b/campaigns
      unbraid submit data pack folder s3://b/raw/photos.zip s3://b/sets/photos --size 64x64
      unbraid submit --kube --workers 8 train infogan-mnist data.url=s3://b/mnist run.storage=s3://b/runs
    """
    from unbraid.cluster.jobs.tree import checkout

    tree = working_dir or checkout()
    if kube:
        from unbraid.cluster.jobs.rayjob import PodOptions

        if address or install or no_upload or include:
            raise click.UsageError(
                "--address, --install, --include and --no-upload are for a Ray cluster that is running, not for --kube"
            )
        manifest = rayjob(command, tree, overlay or "gpu", PodOptions(workers, gpus_per_worker, image))
        if dry_run:
            import yaml

            click.echo(yaml.safe_dump(manifest, sort_keys=False), nl=False)
            return
        server, job = submit_to_kubernetes(manifest)
    else:
        if dry_run or overlay or workers or gpus_per_worker is not None or image:
            raise click.UsageError("--overlay, --workers, --gpus-per-worker, --image and --dry-run are for --kube")
        where = cluster_address(address, use_local_services(address))
        server, job = submit_to_ray(command, where, tree, None if no_upload else UploadOptions(include, max_mb), install)
    if detach:
        click.echo(f"follow it: unbraid jobs logs {server.option}-f {job.id}")
        return
    sys.exit(follow(server, job.id))


class UploadOptions(NamedTuple):
    """What is uploaded of a tree.

    Attributes:
        include: patterns of files that are uploaded although they may hold keys or data.
        max_mb: more is refused.
    """

    include: Sequence[str]
    max_mb: float


def submit_to_ray(
    command: Sequence[str], address: str, tree: Path | None, upload: UploadOptions | None, install: bool
) -> tuple[JobServer, Job]:
    """Start a command on a Ray cluster, or attach to it where it runs already.

    Args:
        tree: working tree; None: the package ``unbraid`` alone.
        upload: how the tree is sent along; None: the cluster's own unbraid runs.
        install: install the tree's requirements first.
    """
    from unbraid.cluster.commands.job_request import job_request
    from unbraid.cluster.jobs.ray import RayJobServer
    from unbraid.cluster.jobs.tree import requirements, zipped_tree

    request = job_request(command, tree, is_on_this_machine(address), uploaded=upload is not None)
    server = RayJobServer(address)
    metadata = dict(request.metadata)
    runtime_env: dict[str, Any] = {"pip": requirements(tree)} if install else {}
    with ExitStack() as stack:
        if upload is not None:
            zipped = zipped_tree(tree, upload.max_mb, upload.include, lambda line: click.echo(line, err=True))
            environment, metadata["tree"] = stack.enter_context(zipped)
            runtime_env |= environment
        entrypoint = ["python", "-m", "unbraid.cluster.cli", *request.arguments]
        job, is_new = server.submit(request.base, entrypoint, runtime_env, metadata)
    attached = "" if is_new else f" is {job.status} already, started {clock_time(job.started)}: attaching"
    click.echo(f"job {job.id} on {address}{attached}")
    return server, job


def rayjob(command: Sequence[str], tree: Path | None, overlay: str, options: PodOptions) -> dict[str, Any]:
    """Check a command and make its RayJob.

    Raises:
        ConfigError, click.UsageError: naming what is wrong with the command.
        JobError: when there is no such overlay, or the numbers do not fit.
    """
    from unbraid.cluster.commands.job_request import job_request
    from unbraid.cluster.jobs.rayjob import manifest_of

    request = job_request(command, tree, same_machine=False, uploaded=True)
    manifest = manifest_of(request, tree, overlay, options)
    _, *arguments = shlex.split(manifest["spec"]["entrypoint"])
    job_request(arguments, tree, same_machine=False, uploaded=True)  # with the settings that follow from the pods
    return manifest


def submit_to_kubernetes(manifest: dict[str, Any]) -> tuple[JobServer, Job]:
    """Create a RayJob, or attach to it where it runs already."""
    from unbraid.cluster.jobs.kube import KubeJobServer
    from unbraid.cluster.jobs.rayjob import image_of

    server = KubeJobServer(manifest["metadata"]["namespace"])
    job, is_new = server.submit(manifest)
    note = f", code of {image_of(manifest)}" if is_new else f" is {job.status} already: attaching"
    click.echo(f"job {job.id} in {server.address}{note}")
    return server, job
