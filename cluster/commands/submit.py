"""``unbraid submit``: the same command, on a cluster."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.cluster.jobs.kube import KubeServer
    from unbraid.cluster.jobs.ray import Job, JobServer
    from unbraid.cluster.jobs.rayjob import Shape

OWN_PRESETS = "own-presets"
"""The folder of a job's working directory that holds the presets which the user has added to those of the tree."""
address_option = click.option(
    "--address", help="http://HOST:8265, or HOST:PORT of a cluster's head. Default: RAY_ADDRESS, else the local services."
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="train|tune|data|eval [ARGUMENTS]...")
@address_option
@click.option("--working-dir", type=click.Path(path_type=Path), help="Tree to upload. Default: the one this command runs from.")
@click.option("--no-upload", is_flag=True, help="Use the unbraid that is installed on the cluster.")
@click.option(
    "--install", is_flag=True, help="Install this tree's requirements, pinned by constraints.txt, before the command runs."
)
@click.option("--max-mb", default=50.0, show_default=True, help="Refuse to upload more.")
@click.option("--detach", is_flag=True, help="Say the job's name and leave.")
@click.option("--kube", is_flag=True, help="On Kubernetes, as a RayJob with a cluster of its own; what follows is for this.")
@click.option("--overlay", help="What the cluster has: a folder of k8s/jobs. Default: gpu.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker pods. Default: as run.workers wants.")
@click.option("--gpus-per-worker", type=click.IntRange(min=0), help="GPUs of each. Default: the overlay's.")
@click.option("--image", help="Image of all pods, in place of the overlay's: what it holds is what runs.")
@click.option("--dry-run", is_flag=True, help="Print the RayJob and stop.")
def submit(
    command: tuple[str, ...],
    address: str | None,
    working_dir: Path | None,
    no_upload: bool,
    install: bool,
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

    The working tree goes along, without what .gitignore names, keys or data. The same command submitted twice is one job:
    the second call attaches to it; when the first has failed, it goes on from the newest checkpoint. Ctrl-C detaches.

    \b
    Examples:
      unbraid submit train infogan-mnist run.workers=8 run.gpus=1 data.url=s3://b/mnist run.storage=s3://b/runs
      unbraid submit --address http://head:8265 --detach tune infogan-mnist-weights --storage s3://b/campaigns
      unbraid submit data pack folder s3://b/raw/photos.zip s3://b/sets/photos --size 64x64
      unbraid submit --kube --workers 8 train infogan-mnist data.url=s3://b/mnist run.storage=s3://b/runs
    """
    from unbraid.cluster.commands.meaning import work_of

    folder = working_dir or source_folder_or_here()
    if kube:
        from unbraid.cluster.jobs.rayjob import Shape

        if address or install or no_upload:
            raise click.UsageError("--address, --install and --no-upload are for a Ray cluster that is there, not for --kube")
        submit_to_kubernetes(command, folder, overlay or "gpu", Shape(workers, gpus_per_worker, image), dry_run, detach)
        return
    if dry_run or overlay or workers or gpus_per_worker is not None or image:
        raise click.UsageError("--overlay, --workers, --gpus-per-worker, --image and --dry-run are for --kube")
    local = use_local_services()
    where = cluster_address(address, local)
    work = work_of(command, folder, is_here(where), uploaded=not no_upload)
    server = connect(where)
    with tempfile.TemporaryDirectory() as scratch:
        runtime_env: dict[str, Any] = {}
        metadata = dict(work.metadata)
        if not no_upload:
            from unbraid.cluster.jobs.tree import zip_tree
            from unbraid.trainers.config.presets import FOLDER_VARIABLE

            archive = Path(scratch) / "tree.zip"
            presets = own_presets()
            metadata["tree"] = zip_tree(folder, archive, max_mb, presets)
            runtime_env["working_dir"] = str(archive)
            if presets:
                runtime_env["env_vars"] = {FOLDER_VARIABLE: OWN_PRESETS}
        if install:
            runtime_env["pip"] = requirements(folder)
        job, is_new = server.submit(work.base, ["python", "-m", "unbraid.cluster.cli", *work.arguments], runtime_env, metadata)
    if is_new:
        click.echo(f"job {job.id} on {where}")
    else:
        click.echo(f"job {job.id} on {where} is {job.status} already, started {clock_time(job.started)}: attaching")
    if detach:
        click.echo(f"follow it: unbraid jobs logs -f {job.id}")
        return
    sys.exit(follow(server, job.id))


def submit_to_kubernetes(
    command: tuple[str, ...], folder: Path, overlay: str, shape: Shape, dry_run: bool, detach: bool
) -> None:
    """Make the RayJob of a command, and apply and follow it."""
    import yaml

    from unbraid.cluster.jobs.kube import KubeServer
    from unbraid.cluster.jobs.rayjob import manifest_of

    manifest = manifest_of(command, folder, overlay, shape)
    if dry_run:
        click.echo(yaml.safe_dump(manifest, sort_keys=False), nl=False)
        return
    server = KubeServer(manifest["metadata"]["namespace"])
    job, is_new = server.submit(manifest)
    image = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    said = f", code of {image}" if is_new else f" is {job.status} already: attaching"
    click.echo(f"job {job.id} in {server.address}{said}")
    if detach:
        click.echo(f"follow it: unbraid jobs logs --kube -f {job.id}")
        return
    sys.exit(follow(server, job.id))


def follow(server: JobServer | KubeServer, identifier: str) -> int:
    """Show a job's output until it has ended; Ctrl-C leaves it alone. Returns its result."""
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


def own_presets() -> dict[Path, Path]:
    """The user's own presets, by their names in the tree that is uploaded."""
    from unbraid.trainers.config.presets import all_presets

    files = {name: preset.file for name, preset in all_presets().items() if preset.own}
    return {Path(OWN_PRESETS, f"{name}.yaml"): Path(str(file)) for name, file in files.items()}


def requirements(folder: Path) -> dict[str, Any]:
    """What Ray installs beside the image's packages: what this tree depends on, at the versions of its constraints.

    Raises:
        TreeError: when the tree names none.
    """
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    from unbraid.cluster.jobs.tree import TreeError

    project, constraints = folder / "pyproject.toml", folder / "constraints.txt"
    for path in (project, constraints):
        if not path.is_file():
            raise TreeError(f"--install: {path} is not there; name the folder of your checkout with --working-dir")
    asked = [Requirement(line) for line in tomllib.loads(project.read_text())["project"]["dependencies"]]
    pins = [Requirement(line) for line in constraints.read_text().splitlines() if line.strip() and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): pin.specifier for pin in pins}
    for requirement in asked:
        requirement.specifier = versions.get(canonicalize_name(requirement.name), requirement.specifier)
    return {
        "packages": [str(requirement) for requirement in asked if requirement.name != "ray"]
    }  # the cluster's Ray is what runs


def connect(where: str) -> JobServer:
    """
    Raises:
        JobError: when no cluster answers there, or it refuses.
    """
    from unbraid.cluster.jobs.ray import JobServer

    return JobServer(where)


def cluster_address(address: str | None, local: str | None) -> str:
    """Where the cluster is.

    Raises:
        JobError: when nothing says so.
    """
    from unbraid.cluster.jobs.ray import JobError

    found = address or os.environ.get("RAY_ADDRESS") or local
    if found is None or found == "auto":
        raise JobError("no cluster is named: give --address, set RAY_ADDRESS, or start one here with `unbraid local up`")
    return found


def is_here(where: str) -> bool:
    """Whether the cluster shares this machine's files, as far as its address says."""
    host = where.rpartition("://")[2].rpartition(":")[0]
    return host in ("127.0.0.1", "localhost", "[::1]")


def source_folder_or_here() -> Path:
    """The checkout that this command runs from; where it was installed without one, the current folder."""
    from unbraid.cluster.jobs.tree import source_folder

    folder = source_folder()
    return folder if (folder / "pyproject.toml").exists() else Path.cwd()


def clock_time(seconds: float) -> str:
    """``14:03:20``, or with the date when that was another day."""
    then = time.localtime(seconds)
    form = "%H:%M:%S" if time.localtime()[:3] == then[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, then)


def newest_job(server: JobServer | KubeServer, identifier: str | None) -> Job:
    """The job that is meant: the one named, or the newest.

    Raises:
        JobError: when there is none.
    """
    from unbraid.cluster.jobs.ray import JobError

    if identifier is not None:
        return server.job(identifier)
    jobs = server.jobs()
    if not jobs:
        raise JobError(f"{server.address} has no jobs yet; `unbraid submit train …` starts one")
    return jobs[0]
