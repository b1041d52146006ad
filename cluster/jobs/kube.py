"""The RayJobs of a Kubernetes namespace as a job server; KubeRay's status of a RayJob decides what its status is."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from unbraid.cluster.jobs.answers import kubernetes_job
from unbraid.cluster.jobs.kubectl import NAMESPACE, LogFollower, kubectl, require_kubectl
from unbraid.cluster.jobs.server import Job, JobError, UnknownJobError, UnreachableError, require_no_password, require_same
from unbraid.datasets.untrusted.text import in_one_line

RESOURCE = "rayjobs.ray.io"
LONGEST_NAME = 47
"""KubeRay refuses longer names, because it makes the names of pods from them."""
POLL_SECONDS = 2.0
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
PULL_FAILURES = ("ImagePullBackOff", "InvalidImageName")
"""Not ErrImagePull, the first failure of a pull: that one may be passing."""
LEAVE_SECONDS = 180.0
"""How long `stop` waits for a job's pods: the head's grace period and a margin. On a lost node pods stay for longer."""


class KubeJobServer:
    """The RayJobs of one namespace, see :class:`unbraid.cluster.jobs.server.JobServer`.

    Args:
        namespace: one that an overlay of ``k8s/`` was applied to.

    Raises:
        JobError: when there is no kubectl.
    """

    option = "--kube "

    def __init__(self, namespace: str = NAMESPACE) -> None:
        require_kubectl()
        self.namespace = namespace
        self.address = f"namespace {namespace}"

    def submit(self, manifest: Mapping[str, Any]) -> tuple[Job, bool]:
        """Create a RayJob, unless one of its name runs or has succeeded; one that failed is deleted first.

        Returns:
            The job, and whether it is new.

        Raises:
            JobError: when a RayJob of that name runs another command or image, or is another user's, or Kubernetes refuses.
        """
        job = kubernetes_job(manifest)
        if job.problem:
            raise JobError(f"job {job.id} cannot be submitted, because it could not be read later: {job.problem}")
        require_no_password(job.entrypoint)
        name, wanted = job.id, job.work
        there = {job.id: job for job in self.jobs()}.get(name)
        if there is not None:
            if not there.is_over:
                require_same(there, wanted, self.option)
            if not there.is_over or (there.status == "SUCCEEDED" and there.work == wanted):
                return there, False
            if there.work.owner != wanted.owner:
                raise JobError(
                    f"job {name} was submitted by {there.work.owner or 'a user that it does not name'}, not by you "
                    f"({wanted.owner}), and is {there.status}: go on with it as it is (unbraid jobs retry --kube {name}), or "
                    "give this run another run.name or run.storage"
                )
            self._delete(name)
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayjobs?fieldValidation=Strict"
        self._kubectl("create", "--raw", path, "-f", "-", content=json.dumps(manifest))
        return self.job(name), True

    def retry(self, identifier: str) -> Job:
        """Create again the RayJob of a job that failed; a run goes on from its newest checkpoint.

        Raises:
            JobError: when the job is not over, or has succeeded.
        """
        resource = self._get(identifier)
        old = kubernetes_job(resource)
        if not old.is_over:
            raise JobError(
                f"job {old.id} is {old.status}: there is nothing to retry; follow it: unbraid jobs logs --kube -f {old.id}"
            )
        if old.status == "SUCCEEDED":
            raise JobError(f"job {old.id} has succeeded: there is nothing to retry{old.more_updates}")
        metadata = {key: resource["metadata"].get(key) or {} for key in ("labels", "annotations")}
        metadata |= {key: resource["metadata"][key] for key in ("name", "namespace")}
        kept = {key: resource[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
        return self.submit(kept)[0]

    def stop(self, identifier: str) -> Job:
        """Delete a RayJob and wait until its pods have ended, which save a checkpoint first.

        Returns:
            The job, with the status STOPPED.

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
        """Return one job.

        Raises:
            UnknownJobError: when there is no such RayJob, naming the newest that exist.
        """
        return kubernetes_job(self._get(identifier))

    def jobs(self) -> list[Job]:
        """List all RayJobs of the namespace, newest first."""
        found = json.loads(self._kubectl("get", RESOURCE, "-n", self.namespace, "-o", "json"))
        return sorted((kubernetes_job(item) for item in found["items"]), key=lambda job: -job.started)

    def logs(self, identifier: str) -> str:
        """Return what the driver has printed so far; "" before the head pod runs and after it is gone."""
        pod = self._head(self._get(identifier))
        return self._kubectl("logs", "-n", self.namespace, pod, "-c", "log") if pod else ""

    def follow(self, identifier: str, on_output: Callable[[str], None], on_notice: Callable[[str], None]) -> Job:
        """Pass on a job's output as it is printed, until the job has ended.

        Args:
            on_notice: called with what the job waits for before it runs, each time that changes, and with lost connections.

        Raises:
            JobError: when its image cannot be pulled; the job itself goes on trying.
        """
        announced, output = "", LogFollower(self.namespace, on_output)
        try:
            while True:
                try:
                    job, waits_for = self._look(identifier, output)
                except UnreachableError as error:
                    job, waits_for = None, f"{error}; the job itself is not concerned"
                if job is not None and job.is_over:
                    output.finish()
                    return job
                if waits_for and waits_for != announced:
                    on_notice(f"{identifier}: {waits_for}")
                announced = waits_for
                if any(word in waits_for for word in PULL_FAILURES):
                    raise JobError(
                        f"job {identifier} cannot start, its image cannot be pulled: {waits_for}. Push it, or stop the job "
                        f"(unbraid jobs stop --kube {identifier}) and submit with --image; it goes on trying meanwhile"
                    )
                time.sleep(POLL_SECONDS)
        finally:
            output.close()

    def _look(self, identifier: str, output: LogFollower) -> tuple[Job, str]:
        """Read a job's status, and begin to follow its output once its head runs.

        Returns:
            The job, and what it waits for; "" once it runs.
        """
        resource = self._get(identifier)
        job = kubernetes_job(resource)
        pod = None if job.is_over else self._head(resource)
        if pod:
            output.follow(pod)
        waits_for = self._waits_for(resource) or job.message if job.status == "PENDING" else ""
        return job, waits_for

    def _waits_for(self, resource: Mapping[str, Any]) -> str:
        """Say what keeps a job's pods from running, by the conditions of its RayCluster and of its pods; "" if nothing does."""
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
        """Return the head pod, whose sidecar prints the driver's output; None before that sidecar runs."""
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
            raise UnknownJobError(f"{self.address} has no RayJob {identifier}; the newest: {known}") from None
        resource: dict[str, Any] = json.loads(text)
        return resource

    def _delete(self, name: str) -> None:
        self._kubectl("delete", RESOURCE, name, "-n", self.namespace, "--wait=true", "--ignore-not-found")

    def _kubectl(self, *arguments: str, content: str | None = None) -> str:
        return kubectl(*arguments, content=content, namespace=self.namespace)


def require_name(name: str) -> None:
    """Check that a RayJob can have a name.

    Raises:
        JobError: when it cannot.
    """
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise JobError(
            f"{name}: not a name that a RayJob can have: at most {LONGEST_NAME} lower-case letters, digits and dashes, a "
            "letter first; `unbraid jobs list --kube` names them"
        )


def _causes(status: Mapping[str, Any]) -> list[str]:
    """List why a pod does not run, by its status."""
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
