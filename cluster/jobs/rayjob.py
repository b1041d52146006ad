"""The RayJob of a command: the manifest of an overlay, with the command's own words and numbers in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unbraid.cluster.jobs.answers import annotations_of
from unbraid.cluster.jobs.kube import LONGEST_NAME, require_name
from unbraid.cluster.jobs.kubectl import kubectl, require_kubectl
from unbraid.cluster.jobs.request import JobRequest
from unbraid.cluster.jobs.server import JobError
from unbraid.cluster.local.services import JOB_VARIABLE

GPU = "nvidia.com/gpu"
CACHE = "/cache"
"""Where ``k8s/base/cluster.yaml`` mounts a worker's disk for shards."""
JOBS = {"train": "train", "tune": "campaign", "data": "train", "eval": "train"}
"""The folder with the manifest of each kind of command. Commands that run in the driver alone get no workers."""


@dataclass(frozen=True)
class PodOptions:
    """Number, GPUs and image of a job's pods, where the overlay's are not wanted.

    Attributes:
        workers: number of worker pods; None: as many as the command's workers need.
        gpus: of each worker pod; None: the overlay's.
        image: of all pods; None: the overlay's.
    """

    workers: int | None = None
    gpus: int | None = None
    image: str | None = None


def manifests_folder(tree: Path | None) -> Path:
    """Return the folder ``k8s`` of a checkout.

    Raises:
        JobError: when there is none.
    """
    if tree is None or not (tree / "k8s" / "overlays").is_dir():
        where = tree or "the installed package"
        raise JobError(f"{where}: has no k8s/overlays; run this from a checkout, or name one with --working-dir")
    return tree / "k8s"


def overlays(tree: Path | None) -> list[str]:
    """List the overlays that have jobs."""
    return sorted(path.name for path in (manifests_folder(tree) / "jobs").iterdir() if path.is_dir())


def render(folder: Path) -> list[dict[str, Any]]:
    """Return the objects that ``kubectl apply -k FOLDER`` would apply.

    Raises:
        JobError: when there is no kubectl, or Kustomize refuses.
    """
    require_kubectl()
    return [document for document in yaml.safe_load_all(kubectl("kustomize", str(folder))) if document]


def manifest_of(request: JobRequest, tree: Path | None, overlay: str, options: PodOptions) -> dict[str, Any]:
    """Make the RayJob of a command.

    Its entrypoint has settings that follow from the pods (``run.workers``, ``run.gpus``, ``data.cache``) where the command
    does not set them; whether the command is right with these is for the caller to check.

    Args:
        tree: whose manifests are used.

    Raises:
        JobError: when there is no such overlay, or the numbers do not fit.
    """
    _require_in_image(request.arguments)
    known = overlays(tree)
    if overlay not in known:
        raise JobError(f"--overlay {overlay}: there is none in {manifests_folder(tree)}/jobs; there are {', '.join(known)}")
    documents = render(manifests_folder(tree) / "jobs" / overlay / JOBS[request.kind])
    (job,) = (document for document in documents if document["kind"] == "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    group = cluster["workerGroupSpecs"][0]
    gpus, workers, arguments = _fitted(request, group, options)
    _require_quota(render(manifests_folder(tree) / "overlays" / overlay), overlay, workers, gpus)

    name = job_name(request.base)
    job["metadata"]["name"] = name
    job["metadata"]["labels"]["unbraid.io/kind"] = request.kind
    job["metadata"]["annotations"] = annotations_of(request.metadata)
    job["spec"]["entrypoint"] = shlex.join(["unbraid", *arguments])
    job["spec"]["runtimeEnvYAML"] = yaml.safe_dump({"env_vars": {JOB_VARIABLE: name}})
    group.update(replicas=workers, minReplicas=workers, maxReplicas=workers)
    _set_gpus(group, gpus)
    if options.image is not None:
        for container in containers(cluster):
            container["image"] = options.image
    return job


def image_of(manifest: Mapping[str, Any]) -> str:
    """Return the image of a RayJob's head."""
    return str(manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"])


def job_name(base: str) -> str:
    """Convert the name of a piece of work to one that Kubernetes accepts; its digest is kept, the part before it is cut."""
    text = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
    head, _, digest = text.rpartition("-")
    name = f"{head[: LONGEST_NAME - len(digest) - 1].rstrip('-')}-{digest}" if head else digest
    require_name(name)
    return name


def containers(cluster: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Iterate over all containers of a RayCluster's pods."""
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        yield from pod.get("initContainers", [])
        yield from pod["containers"]


def _fitted(request: JobRequest, group: Mapping[str, Any], options: PodOptions) -> tuple[int, int, tuple[str, ...]]:
    """Choose the GPUs of a worker pod, the number of pods, and the command with the settings that follow from both.

    Args:
        group: the overlay's description of worker pods.

    Raises:
        JobError: when command and numbers contradict each other.
    """
    arguments = request.arguments
    offered = int(group["template"]["spec"]["containers"][0]["resources"]["limits"].get(GPU, 0))
    gpus = offered if options.gpus is None else options.gpus
    if request.kind in ("data", "eval"):
        return gpus, 0, arguments
    if request.kind == "tune":
        return gpus, int(group["replicas"]) if options.workers is None else options.workers, arguments
    each = max(gpus, 1)
    workers = -(-request.workers // each) if options.workers is None else options.workers
    if workers * each != request.workers:
        if _setting(arguments, "run.workers") is not None:
            what = f"{each} {'GPU' if gpus else 'worker'}{'s' if each > 1 else ''}"
            raise JobError(
                f"run.workers={request.workers}: {workers} pods with {what} each run {workers * each} workers; correct it, "
                "--workers or --gpus-per-worker"
            )
        arguments = (*arguments, f"run.workers={workers * each}")
    if gpus and _setting(arguments, "run.gpus") is None:
        arguments = (*arguments, "run.gpus=1")
    if _setting(arguments, "data.cache") is None:
        arguments = (*arguments, f"data.cache={CACHE}")
    return gpus, workers, arguments


def _require_in_image(arguments: Sequence[str]) -> None:
    """Check that a command names no file of this machine, which no pod has.

    Raises:
        JobError: when it does.
    """
    for argument in arguments:
        path = Path(argument)
        if "://" not in argument and (path.is_file() or ("/" in argument and path.exists())):
            raise JobError(
                f"{argument}: is of this machine, a RayJob has what its image holds: build an image with it (--image), put "
                "data on S3, or submit to a running Ray cluster, without --kube, which gets your tree"
            )


def _setting(arguments: Sequence[str], key: str) -> str | None:
    """Return the value that a command gives a key, the last of several; None where it gives none."""
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    return values[-1] if values else None


def _set_gpus(group: dict[str, Any], gpus: int) -> None:
    resources = group["template"]["spec"]["containers"][0]["resources"]
    for amounts in (resources["requests"], resources["limits"]):
        amounts.pop(GPU, None)
        if gpus:
            amounts[GPU] = str(gpus)
    pod = group["template"]["spec"]
    if not gpus:  # any node can run it
        for key in [key for key in pod.get("nodeSelector", {}) if key.startswith("nvidia.com/")]:
            del pod["nodeSelector"][key]


def _require_quota(platform: Sequence[Mapping[str, Any]], overlay: str, workers: int, gpus: int) -> None:
    """Check that an overlay allows so many workers and GPUs.

    Raises:
        JobError: when the request exceeds the quota of its queue, or its cluster's maximum.
    """
    for document in platform:
        if document["kind"] == "ClusterQueue":
            quotas = {
                flavor["name"]: int(resource["nominalQuota"])
                for group in document["spec"]["resourceGroups"]
                for flavor in group["flavors"]
                for resource in flavor["resources"]
                if resource["name"] == GPU
            }
            if workers * gpus > max(quotas.values(), default=0):
                listing = ", ".join(f"{name} {quota}" for name, quota in quotas.items())
                raise JobError(
                    f"{workers} workers of {gpus} GPUs want {workers * gpus} GPUs; queue {document['metadata']['name']} has at "
                    f"most {max(quotas.values(), default=0)} of one flavour ({listing}): ask for fewer, or raise its quota"
                )
        if document["kind"] == "RayCluster":
            most = int(document["spec"]["workerGroupSpecs"][0]["maxReplicas"])
            if workers > most:
                raise JobError(
                    f"{workers} workers: overlay {overlay} allows {most}; lower --workers, or raise its RayCluster's "
                    "maxReplicas"
                )
