"""The RayJob of a command: what an overlay's manifest says, with the command's own words and numbers in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unbraid.cluster.commands.meaning import Work, work_of
from unbraid.cluster.jobs.kube import LONGEST_NAME, annotations_of, folder_of, require_name
from unbraid.cluster.jobs.kubectl import kubectl, require_kubectl
from unbraid.cluster.jobs.ray import JobError
from unbraid.cluster.local.services import JOB_VARIABLE

GPU = "nvidia.com/gpu"
CACHE = "/cache"
"""Where ``k8s/base/cluster.yaml`` mounts a worker's disk for shards."""
JOBS = {"train": "train", "tune": "campaign", "data": "train", "eval": "train"}
"""The manifest of each kind of command. What runs in the driver alone gets no workers."""


@dataclass(frozen=True)
class Shape:
    """What a job's cluster has.

    Attributes:
        workers: pods; None: as many as the command wants.
        gpus: of each; None: as the overlay says.
        image: in place of the overlay's.
    """

    workers: int | None = None
    gpus: int | None = None
    image: str | None = None


def overlays(tree: Path) -> list[str]:
    """The overlays that have jobs."""
    return sorted(path.name for path in (folder_of(tree) / "jobs").iterdir() if path.is_dir())


def render(folder: Path) -> list[dict[str, Any]]:
    """What ``kubectl apply -k`` would apply.

    Raises:
        JobError: when there is no kubectl, or Kustomize refuses.
    """
    require_kubectl()
    return [document for document in yaml.safe_load_all(kubectl("kustomize", str(folder))) if document]


def manifest_of(command: Sequence[str], tree: Path, overlay: str, shape: Shape) -> dict[str, Any]:
    """The RayJob of a command of ``unbraid``.

    Args:
        tree: whose manifests, presets and campaigns are used.

    Raises:
        ConfigError, click.UsageError: naming what is wrong with the command.
        JobError: when there is no such overlay, or the numbers do not fit.
    """
    work = work_of(command, tree, here=False, uploaded=True)
    _require_in_image(work.arguments)
    known = overlays(tree)
    if overlay not in known:
        raise JobError(f"--overlay {overlay}: there is none in {folder_of(tree)}/jobs; there are {', '.join(known)}")
    kind = work.arguments[0]
    documents = render(folder_of(tree) / "jobs" / overlay / JOBS[kind])
    (job,) = (document for document in documents if document["kind"] == "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    group = cluster["workerGroupSpecs"][0]
    gpus, workers, arguments = _fitted(work, group, shape)
    _require_quota(render(folder_of(tree) / "overlays" / overlay), overlay, workers, gpus)
    work_of(arguments, tree, here=False, uploaded=True)  # what was added is checked too

    name = job_name(work.base)
    job["metadata"]["name"] = name
    job["metadata"]["labels"]["unbraid.io/kind"] = kind
    job["metadata"]["annotations"] = annotations_of(work.metadata)
    job["spec"]["entrypoint"] = shlex.join(["unbraid", *arguments])
    job["spec"]["runtimeEnvYAML"] = yaml.safe_dump({"env_vars": {JOB_VARIABLE: name}})
    group.update(replicas=workers, minReplicas=workers, maxReplicas=workers)
    _set_gpus(group, gpus)
    if shape.image is not None:
        for container in containers(cluster):
            container["image"] = shape.image
    return job


def job_name(base: str) -> str:
    """The name of a piece of work as Kubernetes wants it; its digest stays, what is too long goes before it."""
    text = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
    head, _, digest = text.rpartition("-")
    name = f"{head[: LONGEST_NAME - len(digest) - 1].rstrip('-')}-{digest}" if head else digest
    require_name(name)
    return name


def containers(cluster: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """All containers of a RayCluster's pods."""
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        yield from pod.get("initContainers", [])
        yield from pod["containers"]


def _fitted(work: Work, group: Mapping[str, Any], shape: Shape) -> tuple[int, int, tuple[str, ...]]:
    """GPUs of a worker's pod, number of pods, and the command with what follows from them.

    Raises:
        JobError: when command and numbers contradict each other.
    """
    arguments = work.arguments
    offered = int(group["template"]["spec"]["containers"][0]["resources"]["limits"].get(GPU, 0))
    gpus = offered if shape.gpus is None else shape.gpus
    if arguments[0] in ("data", "eval"):
        return gpus, 0, arguments
    if arguments[0] == "tune":
        return gpus, int(group["replicas"]) if shape.workers is None else shape.workers, arguments
    each = max(gpus, 1)
    workers = -(-work.workers // each) if shape.workers is None else shape.workers
    if workers * each != work.workers:
        if _setting(arguments, "run.workers") is not None:
            what = f"{each} {'GPU' if gpus else 'worker'}{'s' if each > 1 else ''}"
            raise JobError(
                f"run.workers={work.workers}: {workers} pods with {what} each run {workers * each} workers; correct it, "
                "--workers or --gpus-per-worker"
            )
        arguments = (*arguments, f"run.workers={workers * each}")
    if gpus and _setting(arguments, "run.gpus") is None:
        arguments = (*arguments, "run.gpus=1")
    if _setting(arguments, "data.cache") is None:
        arguments = (*arguments, f"data.cache={CACHE}")
    return gpus, workers, arguments


def _require_in_image(arguments: Sequence[str]) -> None:
    """
    Raises:
        JobError: when a file of this machine is named, which no pod has.
    """
    for argument in arguments:
        path = Path(argument)
        if "://" not in argument and (path.is_file() or ("/" in argument and path.exists())):
            raise JobError(
                f"{argument}: is of this machine, a RayJob has what its image holds: build an image with it (--image), put "
                "data on S3, or submit to a cluster that is there, without --kube, where your tree goes along"
            )


def _setting(arguments: Sequence[str], key: str) -> str | None:
    """The value that a command gives a key, the last of several."""
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    return values[-1] if values else None


def _set_gpus(group: dict[str, Any], gpus: int) -> None:
    resources = group["template"]["spec"]["containers"][0]["resources"]
    for amounts in (resources["requests"], resources["limits"]):
        amounts.pop(GPU, None)
        if gpus:
            amounts[GPU] = str(gpus)
    pod = group["template"]["spec"]
    if not gpus:  # any node will do
        for key in [key for key in pod.get("nodeSelector", {}) if key.startswith("nvidia.com/")]:
            del pod["nodeSelector"][key]


def _require_quota(platform: Sequence[Mapping[str, Any]], overlay: str, workers: int, gpus: int) -> None:
    """
    Raises:
        JobError: when more is asked for than the overlay can ever give.
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
