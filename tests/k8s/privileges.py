"""Jobs that want more than the templates have: each change is one privilege that the namespace's policy must refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.k8s.rendering import Document, documents


def train() -> Document:
    """The RayJob that the overlay's template makes."""
    (job,) = documents("jobs/local/train")
    return job


def pod(job: Document, group: str = "head") -> Any:
    cluster = job["spec"]["rayClusterSpec"]
    return (cluster["headGroupSpec"] if group == "head" else cluster["workerGroupSpecs"][0])["template"]["spec"]


def attacked(change: Callable[[Document], object]) -> Document:
    job = copy.deepcopy(train())
    change(job)
    return job


def secret_volume(name: str) -> dict[str, Any]:
    return {"name": "x", "secret": {"secretName": name}}


def token_volume() -> dict[str, Any]:
    return {"name": "x", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


def secret_variable(name: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": "x"}}}


PRIVILEGES: dict[str, Callable[[Document], object]] = {
    "another account": lambda job: pod(job, "worker").update(serviceAccountName="unbraid-head"),
    "the default account": lambda job: pod(job).pop("serviceAccountName"),
    "an account by its old name": lambda job: pod(job, "worker").update(serviceAccount="unbraid-head"),
    "a token": lambda job: pod(job).update(automountServiceAccountToken=True),
    "a token by default": lambda job: pod(job).pop("automountServiceAccountToken"),
    "a projected token": lambda job: pod(job)["volumes"].append(token_volume()),
    "the autoscaler's token": lambda job: pod(job)["volumes"].append(
        next(v for v in pod_of_platform()["volumes"] if v["name"] == "kubernetes-token")
    ),
    "an autoscaler": lambda job: job["spec"]["rayClusterSpec"].update(enableInTreeAutoscaling=True),
    "an autoscaler's container": lambda job: job["spec"]["rayClusterSpec"].update(autoscalerOptions={"command": ["sh"]}),
    "processes of other containers": lambda job: pod(job).update(shareProcessNamespace=True),
    "the node's network": lambda job: pod(job).update(hostNetwork=True),
    "the node's processes": lambda job: pod(job, "worker").update(hostPID=True),
    "the node's files": lambda job: pod(job)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "a node by name": lambda job: pod(job).update(nodeName="node0"),
    "a priority": lambda job: pod(job, "worker").update(priorityClassName="system-cluster-critical"),
    "root": lambda job: pod(job)["securityContext"].update(runAsUser=0),
    "a Secret as a volume": lambda job: pod(job)["volumes"].append(secret_volume("unbraid-redis")),
    "a Secret as a projected volume": lambda job: pod(job)["volumes"].append(
        {"name": "x", "projected": {"sources": [{"secret": {"name": "unbraid"}}]}}
    ),
    "a Secret as a variable": lambda job: pod(job)["containers"][0]["env"].append(secret_variable("unbraid")),
    "a Secret as a variable of the sidecar": lambda job: pod(job)["initContainers"][0].update(env=[secret_variable("unbraid")]),
    "a Secret as all variables": lambda job: pod(job, "worker")["containers"][0]["envFrom"].append(
        {"secretRef": {"name": "unbraid-redis"}}
    ),
    "a Secret to pull images": lambda job: pod(job).update(imagePullSecrets=[{"name": "registry"}]),
    "a Secret of Ray's token": lambda job: job["spec"]["rayClusterSpec"]["authOptions"].update(secretName="other"),
    "a Secret of Redis": lambda job: job["spec"]["rayClusterSpec"].update(
        gcsFaultToleranceOptions={
            "redisAddress": "redis://x:6379",
            "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "unbraid-s3", "key": "AWS_SECRET_ACCESS_KEY"}}},
        }
    ),
    "another claim's disk": lambda job: pod(job)["volumes"].append(
        {"name": "x", "persistentVolumeClaim": {"claimName": "data-unbraid-s3-0"}}
    ),
    "a copy of another disk": lambda job: pod(job)["volumes"].append({"name": "x", "ephemeral": ephemeral()}),
    "another registry": lambda job: pod(job)["containers"][0].update(image="evil.example/unbraid:0.1.0-cpu"),
    "another repository": lambda job: pod(job, "worker")["containers"][0].update(image="unbraid-evil:0.1.0-cpu"),
    "another image in the sidecar": lambda job: pod(job)["initContainers"][0].update(image="busybox:1"),
    "another container": lambda job: pod(job)["containers"].append({"name": "x", "image": "busybox:1"}),
    "another group of workers": lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"].append(other_group(job)),
    "the storage's labels": lambda job: template(job)["metadata"]["labels"].update({"app.kubernetes.io/part-of": "unbraid-s3"}),
    "no authentication": lambda job: job["spec"]["rayClusterSpec"]["authOptions"].update(mode="disabled"),
    "no word about authentication": lambda job: job["spec"]["rayClusterSpec"].pop("authOptions"),
    "its own network policy": lambda job: job["spec"]["rayClusterSpec"].update(networkPolicy={"mode": "DenyAllEgress"}),
    "a head on the network": lambda job: head_group(job).update(serviceType="LoadBalancer"),
    "a head on an ingress": lambda job: head_group(job).update(enableIngress=True),
    "a head's own service": lambda job: head_group(job).update(headService={"spec": {"type": "NodePort"}}),
    "a pod that submits": lambda job: job["spec"].update(submissionMode="K8sJobMode"),
    "its own pod that submits": lambda job: job["spec"].update(
        submitterPodTemplate={"spec": {"containers": [{"name": "x", "image": "busybox:1"}]}}
    ),
    "another cluster": lambda job: job["spec"].update(clusterSelector={"ray.io/cluster": "unbraid"}),
    "only another cluster": lambda job: job.update(spec={"entrypoint": "x", "clusterSelector": {"ray.io/cluster": "unbraid"}}),
}


def pod_of_platform() -> Any:
    (cluster,) = [d for d in documents("overlays/local") if d["kind"] == "RayCluster"]
    return cluster["spec"]["headGroupSpec"]["template"]["spec"]


def ephemeral() -> dict[str, Any]:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    copied = {"dataSource": {"kind": "PersistentVolumeClaim", "name": "data-unbraid-s3-0"}}
    return {"volumeClaimTemplate": {"spec": {**claim, **copied}}}


def head_group(job: Document) -> Any:
    return job["spec"]["rayClusterSpec"]["headGroupSpec"]


def template(job: Document) -> Any:
    return head_group(job)["template"]


def other_group(job: Document) -> Any:
    group = copy.deepcopy(job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0])
    group.update(groupName="other")
    group["template"]["spec"]["serviceAccountName"] = "default"
    return group
