"""Rules for Ray: its version, the commands that run, and what KubeRay's operator refuses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from tests.k8s.pods import cluster_spec, job_spec, name_of, pods_of
from tests.k8s.rendering import K8S, ROOT, Document
from tests.k8s.rules import Objects, rule
from unbraid.cluster.commands.drain import drain
from unbraid.cluster.commands.job_request import job_request
from unbraid.cluster.jobs.kube import LONGEST_NAME, NAME
from unbraid.trainers.errors import TrainingError


@rule
def ray_versions_agree(objects: Objects) -> Iterator[str]:
    """RayClusters, the Dockerfile and constraints.txt name the same version of Ray."""
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    dockerfile = (K8S / "image" / "Dockerfile").read_text()
    built = re.search(r"^ARG RAY_VERSION=(\S+)", dockerfile, re.M)
    if built is None or built[1] != constraints["ray"]:
        yield f"k8s/image/Dockerfile: RAY_VERSION is {built and built[1]}, constraints.txt has {constraints['ray']}"
    for document in objects.applied:
        cluster = cluster_spec(document)
        if cluster is not None and cluster.get("rayVersion") != constraints["ray"]:
            yield f"{name_of(document)}: rayVersion {cluster.get('rayVersion')}, constraints.txt has {constraints['ray']}"


@rule
def commands_are_valid(objects: Objects) -> Iterator[str]:
    """The command line of this tree accepts entrypoints and hooks, with its presets and campaigns."""
    for document in objects.applied:
        job = job_spec(document)
        if job is not None:
            program, *arguments = shlex.split(job["entrypoint"])
            try:
                if program != "unbraid":
                    raise click.UsageError(f"{program} is not unbraid")
                job_request(arguments, ROOT, same_machine=False, uploaded=True)
            except (TrainingError, click.ClickException) as error:
                yield f"{name_of(document)}: `unbraid` refuses the entrypoint: {error}"
            if "data.cache" in job["entrypoint"] and "data.cache=/cache" not in job["entrypoint"]:
                yield f"{name_of(document)}: data.cache must be /cache, where the volume is mounted"
    for pod in objects.pods():
        hook = pod.spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook is None:
            if pod.role in ("head", "worker"):
                yield f"{pod.where}: has no preStop hook, so it saves no checkpoint before it ends"
            continue
        try:
            if hook[:2] != ["unbraid", "drain"]:
                raise click.UsageError(f"{hook} is not `unbraid drain`")
            seconds = drain.make_context("drain", list(hook[2:])).params["seconds"]
        except click.ClickException as error:
            yield f"{pod.where}: `unbraid drain` refuses the arguments of the preStop hook: {error}"
            continue
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        if not 10 <= seconds <= grace - 5:
            yield f"{pod.where}: preStop takes {seconds} s of a grace period of {grace} s; it needs 10 s, and must leave 5 s"


@rule
def kuberay_operator_accepts(objects: Objects) -> Iterator[str]:
    """KubeRay's operator accepts the object: its validation (version 1.7) runs after the API server has stored it."""
    for document in objects.applied:
        cluster, job = cluster_spec(document), job_spec(document)
        name = document["metadata"]["name"]
        if cluster is None:
            continue
        where = name_of(document)
        if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            yield f"{where}: the name is not valid for a RayJob or RayCluster"
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        scales = bool(cluster.get("enableInTreeAutoscaling"))
        for group in groups:
            if scales and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{where}: autoscaler v2 requires restartPolicy Never"
        for group in cluster["workerGroupSpecs"]:
            if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
                yield f"{where}: replicas {group['replicas']} is not between {group['minReplicas']} and {group['maxReplicas']}"
        if cluster.get("authOptions", {}).get("mode") != "token":
            yield f"{where}: authOptions.mode is not token: everybody who reaches the head may run code there"
        if str(cluster["headGroupSpec"]["rayStartParams"].get("num-cpus")) != "0":
            yield f"{where}: the head's num-cpus is not 0: Ray may place work there"
        if job is not None:
            yield from (f"{where}: {text}" for text in _job(job, scales, document))
        if document["kind"] == "RayCronJob" and len(document["spec"]["schedule"].split()) != 5:
            yield f"{where}: schedule {document['spec']['schedule']!r} does not have five fields"


def _job(job: Document, scales: bool, document: Document) -> Iterator[str]:
    rules = job.get("deletionStrategy", {}).get("deletionRules", [])
    queued = "kueue.x-k8s.io/queue-name" in document["metadata"].get("labels", {})
    if rules and job.get("shutdownAfterJobFinishes"):
        yield "has both deletion rules and shutdownAfterJobFinishes"
    if not rules and not job.get("shutdownAfterJobFinishes"):
        yield "its cluster is never deleted"
    if job.get("ttlSecondsAfterFinished") and not job.get("shutdownAfterJobFinishes"):
        yield "has ttlSecondsAfterFinished without shutdownAfterJobFinishes"
    if queued and (scales or not job.get("shutdownAfterJobFinishes")):
        yield "Kueue accepts no job with autoscaling, or whose cluster stays"
    if scales and any(entry["policy"] == "DeleteWorkers" for entry in rules):
        yield "DeleteWorkers cannot be used with autoscaling"
    order = ["DeleteWorkers", "DeleteCluster", "DeleteSelf"]
    for status in ("SUCCEEDED", "FAILED"):
        times = [
            e["condition"]["ttlSeconds"]
            for p in order
            for e in rules
            if e["policy"] == p and e["condition"]["jobStatus"] == status
        ]
        if times != sorted(times):
            yield f"the deletion rules of {status} are not in order of time"
        if rules and not times:
            yield f"no deletion rule for {status}"
    if job.get("submissionMode") != "HTTPMode":
        yield "submissionMode is not HTTPMode: the end of a log stream counts as the end of the job (KubeRay issue 4921)"
    if job.get("backoffLimit", 0) < 1:
        yield "backoffLimit is below 1: a lost head ends the job"
    if job.get("activeDeadlineSeconds", 0) <= 0:
        yield "has no activeDeadlineSeconds"


@rule
def logs_are_readable(objects: Objects) -> Iterator[str]:
    """Ray writes its files to the folder that the head's sidecar and KubeRay's autoscaler read."""
    for document in objects.applied:
        cluster = cluster_spec(document)
        folder = cluster["headGroupSpec"]["rayStartParams"].get("temp-dir") if cluster else None
        if cluster and folder != "/tmp/ray":  # noqa: S108 - the folder that KubeRay mounts
            yield f"{name_of(document)}: Ray writes its files to {folder}, not /tmp/ray"
        pods = [pod for pod in pods_of([document]) if pod.role == "head"]
        for container in (c for pod in pods for c in pod.containers):
            if folder not in [mount["mountPath"] for mount in container["volumeMounts"]]:
                yield f"{name_of(document)}: {container['name']} does not mount {folder}"
