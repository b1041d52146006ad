"""RayJobs on Kubernetes, with the interface of a job server: what KubeRay says of them is the truth."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from unbraid.cluster.jobs.kubectl import NAMESPACE, Printed, UnreachableError, kubectl, require_kubectl
from unbraid.cluster.jobs.ray import Job, JobError
from unbraid.trainers.errors import in_one_line

PREFIX = "unbraid.io/"
"""Of the labels and annotations that are ours."""
RESOURCE = "rayjobs.ray.io"
LONGEST_NAME = 47
"""KubeRay refuses more: it makes the names of pods from it."""
POLL_SECONDS = 2.0
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
PULL_FAILURES = ("ImagePullBackOff", "InvalidImageName")
"""The first failure of a pull (ErrImagePull) may be the registry's bad moment."""
LEAVE_SECONDS = 180.0
"""That a job's pods get to end: the head's grace, and a margin. On a node that is lost they stay for longer."""


class KubeServer:
    """The RayJobs of one namespace.

    Args:
        namespace: that an overlay of ``k8s/`` has been applied to.

    Raises:
        JobError: when there is no kubectl.
    """

    option = "--kube "
    """What names it on the command line."""

    def __init__(self, namespace: str = NAMESPACE) -> None:
        require_kubectl()
        self.namespace = namespace
        self.address = f"namespace {namespace}"

    def submit(self, manifest: Mapping[str, Any]) -> tuple[Job, bool]:
        """Create a RayJob, unless it runs or has succeeded; one that failed is taken away and begins again.

        Returns:
            The job, and whether it is new.

        Raises:
            JobError: when one of that name runs another command, or Kubernetes refuses.
        """
        name = manifest["metadata"]["name"]
        there = {job.id: job for job in self.jobs()}.get(name)
        if there is not None and there.status in ("PENDING", "RUNNING", "SUCCEEDED"):
            if there.entrypoint == manifest["spec"]["entrypoint"]:
                return there, False
            if not there.is_over:
                raise JobError(
                    f"job {name} runs with other arguments:\n  {there.entrypoint}\nstop it first (unbraid jobs stop --kube "
                    f"{name}), or give this run another run.name"
                )
        if there is not None:
            self._delete(name)
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayjobs?fieldValidation=Strict"
        self._kubectl("create", "--raw", path, "-f", "-", content=json.dumps(manifest))
        return self.job(name), True

    def retry(self, identifier: str) -> Job:
        """Begin a job that failed or was stopped once more: it goes on from its newest checkpoint.

        Raises:
            JobError: when it runs, or has succeeded.
        """
        resource = self._get(identifier)
        old = job_of(resource)
        if not old.is_over:
            raise JobError(
                f"job {old.id} is {old.status}: there is nothing to retry; follow it: unbraid jobs logs --kube -f {old.id}"
            )
        if old.status == "SUCCEEDED":
            raise JobError(f"job {old.id} has succeeded: there is nothing to retry; submit it with a larger run.updates")
        metadata = {key: resource["metadata"].get(key) or {} for key in ("labels", "annotations")}
        metadata |= {key: resource["metadata"][key] for key in ("name", "namespace")}
        kept = {key: resource[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
        return self.submit(kept)[0]

    def stop(self, identifier: str) -> Job:
        """Take a job away: its pods save a checkpoint as they end.

        Returns:
            As it was, but stopped.

        Raises:
            JobError: when it has ended already.
        """
        job = self.job(identifier)
        if job.is_over:
            raise JobError(f"job {job.id} has ended already: {job.status}")
        cluster = self._get(identifier).get("status", {}).get("rayClusterName")
        self._delete(identifier)
        until = time.monotonic() + LEAVE_SECONDS
        while cluster and self._pods(cluster) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        return Job(job.id, "STOPPED", "", job.entrypoint, job.metadata, job.started, time.time(), None)

    def job(self, identifier: str) -> Job:
        """
        Raises:
            JobError: when there is no such job, naming the nearest that are there.
        """
        return job_of(self._get(identifier))

    def jobs(self) -> list[Job]:
        """All RayJobs of the namespace, newest first."""
        found = json.loads(self._kubectl("get", RESOURCE, "-n", self.namespace, "-o", "json"))
        return sorted((job_of(item) for item in found["items"]), key=lambda job: -job.started)

    def logs(self, identifier: str) -> str:
        """What the driver has printed so far; nothing before its head runs, or after it has gone."""
        pod = self._head(self._get(identifier))
        return self._kubectl("logs", "-n", self.namespace, pod, "-c", "log") if pod else ""

    def follow(self, identifier: str, show: Callable[[str], None], told: Callable[[str], None]) -> Job:
        """Show a job's output as it comes until the job has ended, and say what it waits for before.

        Args:
            told: hears what the job waits for, of clusters that it begins again on, and of lost connections.

        Returns:
            The job as it ended.

        Raises:
            JobError: when its image cannot be pulled; the job itself goes on trying.
        """
        said, printed = "", Printed(self.namespace, show)
        try:
            while True:
                try:
                    job, state = self._look(identifier, printed)
                except UnreachableError as error:
                    job, state = None, f"{error}; the job itself is not concerned"
                if job is not None and job.is_over:
                    printed.finish()
                    return job
                if state != said:
                    if state:
                        told(f"{identifier}: {state}")
                    said = state
                if any(word in state for word in PULL_FAILURES):
                    raise JobError(
                        f"job {identifier} cannot start, its image cannot be pulled: {state}. Push it, or stop the job "
                        f"(unbraid jobs stop --kube {identifier}) and submit with --image; it goes on trying meanwhile"
                    )
                time.sleep(POLL_SECONDS)
        finally:
            printed.close()

    def _look(self, identifier: str, printed: Printed) -> tuple[Job, str]:
        """A job as it is now, whose output is shown from now on, and what it waits for; "" while it runs."""
        resource = self._get(identifier)
        job = job_of(resource)
        pod = None if job.is_over else self._head(resource)
        if pod:
            printed.follow(pod)
        waits = self._waits(resource) or job.message if job.status == "PENDING" else ""
        return job, waits

    def _waits(self, resource: Mapping[str, Any]) -> str:
        """What keeps the pods of a job from running, as KubeRay's conditions and the pods' own say."""
        status = resource.get("status", {})
        conditions = status.get("rayClusterStatus", {}).get("conditions", [])
        causes = [
            f"{c['type']}: {c.get('reason', '')} {c.get('message', '')}".strip() for c in conditions if c["status"] == "False"
        ]
        if status.get("rayClusterName"):
            for pod in self._pods(status["rayClusterName"]):
                causes += [f"{pod['metadata']['name']}: {cause}" for cause in _causes(pod.get("status", {}))]
        return in_one_line("; ".join(causes)) if causes else ""

    def _head(self, resource: Mapping[str, Any]) -> str | None:
        """The pod whose sidecar prints what the driver prints, once that runs."""
        cluster = resource.get("status", {}).get("rayClusterName")
        for pod in self._pods(cluster, "ray.io/node-type=head") if cluster else []:
            states = pod.get("status", {}).get("initContainerStatuses", [])
            if any(state["name"] == "log" and "waiting" not in state.get("state", {"waiting": {}}) for state in states):
                return str(pod["metadata"]["name"])
        return None

    def _pods(self, cluster: str, *selectors: str) -> list[dict[str, Any]]:
        selector = ",".join((f"ray.io/cluster={cluster}", *selectors))
        found = json.loads(self._kubectl("get", "pods", "-n", self.namespace, "-l", selector, "-o", "json"))
        items: list[dict[str, Any]] = found["items"]
        return items

    def _get(self, identifier: str) -> dict[str, Any]:
        require_name(identifier)
        try:
            text = self._kubectl("get", RESOURCE, identifier, "-n", self.namespace, "-o", "json")
        except JobError as error:
            if "not found" not in str(error):
                raise
            known = ", ".join(job.id for job in self.jobs()[:5]) or "none"
            raise JobError(f"{self.address} has no RayJob {identifier}; the newest: {known}") from None
        resource: dict[str, Any] = json.loads(text)
        return resource

    def _delete(self, name: str) -> None:
        self._kubectl("delete", RESOURCE, name, "-n", self.namespace, "--wait=true", "--ignore-not-found")

    def _kubectl(self, *arguments: str, content: str | None = None) -> str:
        return kubectl(*arguments, content=content, namespace=self.namespace)


def job_of(resource: Mapping[str, Any]) -> Job:
    """A RayJob as a job: KubeRay's word where it has ended, the Ray job's while it runs."""
    metadata, spec, status = resource["metadata"], resource["spec"], resource.get("status", {})
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    if deployment == "Failed":
        state = "FAILED"
    elif deployment == "Complete":
        state = job or "SUCCEEDED"
    elif deployment == "Running" and job:
        state = job
    else:
        state = "PENDING"
    words = [status.get("reason", ""), status.get("message", "")]
    if state == "PENDING" and not any(words):
        words = [deployment or ("waits for its queue" if spec.get("suspend") else "waits for KubeRay")]
    again = status.get("failed", 0)
    if again and state == "PENDING":
        words.append(f"(attempt {again + 1} of {spec.get('backoffLimit', 0) + 1})")
    return Job(
        id=metadata["name"],
        status=state,
        message=": ".join(word for word in words if word),
        entrypoint=spec["entrypoint"],
        metadata=metadata_of(metadata.get("annotations", {})),
        started=_seconds(status.get("startTime") or metadata.get("creationTimestamp")),
        ended=_seconds(status.get("endTime")),
        exit_code=None,
    )


def metadata_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """What was said of the work when it was submitted."""
    return {key.removeprefix(PREFIX).replace("-", "_"): value for key, value in annotations.items() if key.startswith(PREFIX)}


def annotations_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """The other way round."""
    return {PREFIX + key.replace("_", "-"): value for key, value in metadata.items()}


def require_name(name: str) -> None:
    """
    Raises:
        JobError: when no RayJob can be called so.
    """
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise JobError(
            f"{name}: not a name that a RayJob can have: at most {LONGEST_NAME} lower-case letters, digits and dashes, a "
            "letter first; `unbraid jobs list --kube` names them"
        )


def _causes(status: Mapping[str, Any]) -> list[str]:
    """Why a pod does not run."""
    causes = [
        f"{c.get('reason', '')}: {c.get('message', '')}"
        for c in status.get("conditions", [])
        if c.get("type") == "PodScheduled" and c.get("status") == "False"
    ]
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("message"):
            causes.append(f"{waiting.get('reason', '')}: {waiting['message']}")
    return causes


def _seconds(stamp: str | None) -> float:
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def folder_of(tree: Path) -> Path:
    """Where the manifests are.

    Raises:
        JobError: when this runs without a checkout.
    """
    folder = tree / "k8s"
    if not (folder / "overlays").is_dir():
        raise JobError(f"{tree} has no k8s/overlays: run this from a checkout, or name one with --working-dir")
    return folder
