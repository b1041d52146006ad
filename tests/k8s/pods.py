"""The pods that rendered objects would become, with the labels that KubeRay adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.k8s.rendering import Document


@dataclass(frozen=True)
class PodOf:
    """A pod's description, and whose it is.

    Attributes:
        where: object and part, for messages.
        owner: the object.
        labels: as the pod has them.
        spec: Kubernetes' PodSpec.
        role: head, worker, debug, or "".
    """

    where: str
    owner: Document
    labels: dict[str, str]
    spec: Document
    role: str

    @property
    def containers(self) -> list[Document]:
        """All, those that begin before the others too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def name_of(document: Document) -> str:
    """``Kind/name``."""
    return f"{document['kind']}/{document['metadata']['name']}"


def cluster_spec(document: Document) -> Document | None:
    """The RayClusterSpec in an object, if it has one."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "RayCluster":
        return dict(spec)
    if kind == "RayJob":
        return dict(spec["rayClusterSpec"])
    return dict(spec["jobTemplate"]["rayClusterSpec"]) if kind == "RayCronJob" else None


def job_spec(document: Document) -> Document | None:
    """The RayJobSpec in an object, if it has one."""
    if document["kind"] == "RayJob":
        return dict(document["spec"])
    return dict(document["spec"]["jobTemplate"]) if document["kind"] == "RayCronJob" else None


def pods_of(documents: list[Document]) -> Iterator[PodOf]:
    """All pods that the objects describe."""
    for document in documents:
        name, cluster = name_of(document), cluster_spec(document)
        if document["kind"] == "Pod":
            labels = document["metadata"].get("labels", {})
            yield PodOf(name, document, labels, document["spec"], labels.get("app.kubernetes.io/component", ""))
        elif document["kind"] in ("StatefulSet", "Deployment", "Job"):
            template = document["spec"]["template"]
            yield PodOf(name, document, template["metadata"].get("labels", {}), template["spec"], "")
        elif cluster is not None:
            for role, group in (("head", cluster["headGroupSpec"]), *(("worker", g) for g in cluster["workerGroupSpecs"])):
                template = group["template"]
                labels = {
                    "ray.io/cluster": document["metadata"]["name"],
                    "ray.io/node-type": role,
                    "ray.io/group": group.get("groupName", "headgroup"),
                    **template.get("metadata", {}).get("labels", {}),
                }
                yield PodOf(f"{name} {role}", document, labels, template["spec"], role)
