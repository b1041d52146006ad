"""The pods that rendered objects describe, with the labels that KubeRay adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.k8s.rendering import Document


@dataclass(frozen=True)
class PodTemplate:
    """The description of a pod inside an object.

    Attributes:
        where: the object's name and the part of it, for messages.
        owner: the object.
        labels: the pod's labels.
        spec: Kubernetes' PodSpec.
        role: "head", "worker" or "debug" for a pod with the image of unbraid, else "".
    """

    where: str
    owner: Document
    labels: dict[str, str]
    spec: Document
    role: str

    @property
    def containers(self) -> list[Document]:
        """All containers, init containers first."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def autoscaler_mounts(pod: PodTemplate) -> dict[str, str]:
    """Where the container of the autoscaler, which KubeRay adds to a head, mounts volumes, by their names."""
    cluster = (cluster_spec(pod.owner) or {}) if pod.role == "head" else {}
    mounts = cluster.get("autoscalerOptions", {}).get("volumeMounts", []) if cluster.get("enableInTreeAutoscaling") else []
    return {mount["name"]: mount["mountPath"] for mount in mounts}


def name_of(document: Document) -> str:
    """An object's name as ``Kind/name``."""
    return f"{document['kind']}/{document['metadata']['name']}"


def cluster_spec(document: Document) -> Document | None:
    """The RayClusterSpec inside an object; None where it has none."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "RayCluster":
        return dict(spec)
    if kind == "RayJob":
        return dict(spec["rayClusterSpec"])
    return dict(spec["jobTemplate"]["rayClusterSpec"]) if kind == "RayCronJob" else None


def job_spec(document: Document) -> Document | None:
    """The RayJobSpec inside an object; None where it has none."""
    if document["kind"] == "RayJob":
        return dict(document["spec"])
    return dict(document["spec"]["jobTemplate"]) if document["kind"] == "RayCronJob" else None


def pods_of(documents: list[Document]) -> Iterator[PodTemplate]:
    """Find all pods that the objects describe."""
    for document in documents:
        name, cluster = name_of(document), cluster_spec(document)
        if document["kind"] == "Pod":
            labels = document["metadata"].get("labels", {})
            yield PodTemplate(name, document, labels, document["spec"], labels.get("app.kubernetes.io/component", ""))
        elif document["kind"] in ("StatefulSet", "Deployment", "Job"):
            template = document["spec"]["template"]
            yield PodTemplate(name, document, template["metadata"].get("labels", {}), template["spec"], "")
        elif cluster is not None:
            for role, group in (("head", cluster["headGroupSpec"]), *(("worker", g) for g in cluster["workerGroupSpecs"])):
                template = group["template"]
                labels = {
                    "ray.io/cluster": document["metadata"]["name"],
                    "ray.io/node-type": role,
                    "ray.io/group": group.get("groupName", "headgroup"),
                    **template.get("metadata", {}).get("labels", {}),
                }
                yield PodTemplate(f"{name} {role}", document, labels, template["spec"], role)
