"""Rules about Ray: its version, our commands, and what KubeRay's operator refuses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from tests.k8s.pods import cluster_spec, job_spec, name_of, pods_of
from tests.k8s.rendering import K8S, ROOT, Document
from tests.k8s.scene import Scene, rule
from unbraid.cluster.commands.drain import drain
from unbraid.cluster.commands.job_request import job_request
from unbraid.cluster.jobs.kube import LONGEST_NAME, NAME
from unbraid.trainers.errors import TrainingError


@rule
def ray_is_the_same(scene: Scene) -> Iterator[str]:
    """One version of Ray: in the cluster, the image and the constraints."""
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    dockerfile = (K8S / "image" / "Dockerfile").read_text()
    built = re.search(r"^ARG RAY_VERSION=(\S+)", dockerfile, re.M)
    if built is None or built[1] != constraints["ray"]:
        yield f"k8s/image/Dockerfile: RAY_VERSION is {built and built[1]}, constraints.txt has {constraints['ray']}"
    for document in scene.documents:
        cluster = cluster_spec(document)
        if cluster is not None and cluster.get("rayVersion") != constraints["ray"]:
            yield f"{name_of(document)}: rayVersion {cluster.get('rayVersion')}, constraints.txt has {constraints['ray']}"


@rule
def commands_are_ours(scene: Scene) -> Iterator[str]:
    """Entrypoints and hooks are commands that this tree accepts, with its presets and campaigns."""
    for document in scene.documents:
        job = job_spec(document)
        if job is not None:
            program, *arguments = shlex.split(job["entrypoint"])
            try:
                if program != "unbraid":
                    raise click.UsageError(f"{program} is not unbraid")
                job_request(arguments, ROOT, same_machine=False, uploaded=True)
            except (TrainingError, click.ClickException) as error:
                yield f"{name_of(document)}: its entrypoint is refused: {error}"
            if "data.cache" in job["entrypoint"] and "data.cache=/cache" not in job["entrypoint"]:
                yield f"{name_of(document)}: data.cache is not where the volume is mounted"
    for pod in scene.pods():
        hook = pod.spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook is None:
            if pod.role in ("head", "worker"):
                yield f"{pod.where}: saves nothing before it ends"
            continue
        try:
            if hook[:2] != ["unbraid", "drain"]:
                raise click.UsageError(f"{hook} is not `unbraid drain`")
            seconds = drain.make_context("drain", list(hook[2:])).params["seconds"]
        except click.ClickException as error:
            yield f"{pod.where}: its preStop is refused: {error}"
            continue
        if not 10 <= seconds <= pod.spec.get("terminationGracePeriodSeconds", 30) - 5:
            yield f"{pod.where}: preStop takes {seconds} s of a grace of {pod.spec.get('terminationGracePeriodSeconds', 30)} s"


@rule
def kuberay_accepts(scene: Scene) -> Iterator[str]:
    """What KubeRay's operator refuses after the API server has taken it (its own validation, 1.7)."""
    for document in scene.documents:
        cluster, job = cluster_spec(document), job_spec(document)
        name = document["metadata"]["name"]
        if cluster is None:
            continue
        where = name_of(document)
        if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            yield f"{where}: not a name for a RayJob or RayCluster"
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        scales = bool(cluster.get("enableInTreeAutoscaling"))
        for group in groups:
            if scales and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{where}: autoscaler v2 wants restartPolicy Never"
        for group in cluster["workerGroupSpecs"]:
            if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
                yield f"{where}: replicas {group['replicas']} are not within {group['minReplicas']} and {group['maxReplicas']}"
        if cluster.get("authOptions", {}).get("mode") != "token":
            yield f"{where}: everybody who reaches the head may run code there"
        if str(cluster["headGroupSpec"]["rayStartParams"].get("num-cpus")) != "0":
            yield f"{where}: work may be placed on the head"
        if job is not None:
            yield from (f"{where}: {text}" for text in _job(job, scales, document))
        if document["kind"] == "RayCronJob" and len(document["spec"]["schedule"].split()) != 5:
            yield f"{where}: schedule {document['spec']['schedule']!r} has not five fields"


def _job(job: Document, scales: bool, document: Document) -> Iterator[str]:
    rules = job.get("deletionStrategy", {}).get("deletionRules", [])
    queued = "kueue.x-k8s.io/queue-name" in document["metadata"].get("labels", {})
    if rules and job.get("shutdownAfterJobFinishes"):
        yield "deletion rules and shutdownAfterJobFinishes exclude each other"
    if not rules and not job.get("shutdownAfterJobFinishes"):
        yield "its cluster would stay for ever"
    if job.get("ttlSecondsAfterFinished") and not job.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished without shutdownAfterJobFinishes"
    if queued and (scales or not job.get("shutdownAfterJobFinishes")):
        yield "Kueue takes no job that scales, or whose cluster stays"
    if scales and any(entry["policy"] == "DeleteWorkers" for entry in rules):
        yield "DeleteWorkers does not go with autoscaling"
    order = ["DeleteWorkers", "DeleteCluster", "DeleteSelf"]
    for status in ("SUCCEEDED", "FAILED"):
        times = [
            e["condition"]["ttlSeconds"]
            for p in order
            for e in rules
            if e["policy"] == p and e["condition"]["jobStatus"] == status
        ]
        if times != sorted(times):
            yield f"deletion rules of {status} are not in order"
        if rules and not times:
            yield f"nothing is deleted after {status}"
    if job.get("submissionMode") != "HTTPMode":
        yield "its end is taken from a log stream (KubeRay issue 4921)"
    if job.get("backoffLimit", 0) < 1:
        yield "a lost head ends it"
    if job.get("activeDeadlineSeconds", 0) <= 0:
        yield "it has no deadline"


@rule
def logs_are_found(scene: Scene) -> Iterator[str]:
    """Ray's files lie where the head's sidecar, and KubeRay's autoscaler, look for them."""
    for document in scene.documents:
        cluster = cluster_spec(document)
        folder = cluster["headGroupSpec"]["rayStartParams"].get("temp-dir") if cluster else None
        if cluster and folder != "/tmp/ray":  # noqa: S108 - KubeRay mounts that
            yield f"{name_of(document)}: Ray's files lie in {folder}"
        pods = [pod for pod in pods_of([document]) if pod.role == "head"]
        for container in (c for pod in pods for c in pod.containers):
            if folder not in [mount["mountPath"] for mount in container["volumeMounts"]]:
                yield f"{name_of(document)}: {container['name']} does not see {folder}"
