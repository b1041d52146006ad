"""Mutations of rendered objects, part one: schemas and pods. Each breaks what one check is for, and that check must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.k8s.checks import KUBERAY
from tests.k8s.rendering import Document

Break = Callable[[list[Document]], None]


@dataclass(frozen=True)
class Mutation:
    """A change that breaks rendered objects.

    Attributes:
        folder: whose rendered objects are changed.
        check: the check that must find it.
        name: what is wrong afterwards.
        apply: makes the change.
    """

    folder: str
    check: str
    name: str
    apply: Break


MUTATIONS: list[Mutation] = []


def mutation(folder: str, check: str) -> Callable[[Break], Break]:
    """Register a mutation that a check must find."""

    def add(function: Break) -> Break:
        MUTATIONS.append(Mutation(folder, check, function.__name__, function))
        return function

    return add


def one(documents: list[Document], kind: str, name: str | None = None) -> Document:
    """The only object of a kind, or the one with a name."""
    found = [d for d in documents if d["kind"] == kind and (name is None or d["metadata"]["name"] == name)]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def head(documents: list[Document]) -> Document:
    """The PodSpec of the RayCluster's head."""
    pod: Document = one(documents, "RayCluster")["spec"]["headGroupSpec"]["template"]["spec"]
    return pod


def worker(documents: list[Document]) -> Document:
    """The PodSpec of the RayCluster's workers."""
    pod: Document = one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    return pod


def job(documents: list[Document]) -> Document:
    """The spec of the only RayJob."""
    spec: Document = one(documents, "RayJob")["spec"]
    return spec


GPU, TRAIN, LOCAL, ALL = "overlays/gpu", "jobs/gpu/train", "overlays/local", "overlays/production"


@mutation(GPU, KUBERAY)
def misspelt_field(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["enableInTreeAutoscalling"] = True


@mutation(GPU, "schema")
def misspelt_field_of_a_pod(documents: list[Document]) -> None:
    head(documents)["terminationGraceSeconds"] = 1


@mutation(GPU, KUBERAY)
def wrong_type(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["replicas"] = "none"


@mutation(GPU, KUBERAY)
def autoscaler_of_an_unknown_version(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["autoscalerOptions"]["version"] = "v3"


@mutation(TRAIN, KUBERAY)
def deletion_by_rules_and_by_deprecated_fields(documents: list[Document]) -> None:
    job(documents)["deletionStrategy"]["onSuccess"] = {"policy": "DeleteCluster"}


@mutation(TRAIN, KUBERAY)
def deletion_rule_without_a_status(documents: list[Document]) -> None:
    job(documents)["deletionStrategy"]["deletionRules"][0]["condition"] = {"ttlSeconds": 0}


@mutation(TRAIN, KUBERAY)
def job_of_an_unknown_manager(documents: list[Document]) -> None:
    job(documents)["managedBy"] = "nobody"


@mutation("jobs/gpu/nightly", KUBERAY)
def cron_job_without_a_schedule(documents: list[Document]) -> None:
    del one(documents, "RayCronJob")["spec"]["schedule"]


@mutation(GPU, "schema")
def policy_without_a_selector(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-operator")["spec"]["podSelectors"] = {}


@mutation(LOCAL, "schema")
def stateful_set_without_a_selector(documents: list[Document]) -> None:
    del one(documents, "StatefulSet")["spec"]["selector"]


@mutation(ALL, "schema")
def queue_of_an_old_api_version(documents: list[Document]) -> None:
    one(documents, "ClusterQueue")["apiVersion"] = "kueue.x-k8s.io/v1alpha1"


@mutation(GPU, "pods_are_restricted")
def container_that_may_run_as_root(documents: list[Document]) -> None:
    worker(documents)["securityContext"]["runAsNonRoot"] = False


@mutation(GPU, "pods_are_restricted")
def privilege_escalation_not_forbidden(documents: list[Document]) -> None:
    del head(documents)["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"]


@mutation(GPU, "pods_are_restricted")
def capabilities_kept_by_the_autoscaler(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["autoscalerOptions"]["securityContext"]["capabilities"]


@mutation(LOCAL, "pods_are_restricted")
def no_seccomp_profile(documents: list[Document]) -> None:
    del one(documents, "StatefulSet")["spec"]["template"]["spec"]["securityContext"]["seccompProfile"]


@mutation(GPU, "pods_are_restricted")
def volume_from_the_host(documents: list[Document]) -> None:
    worker(documents)["volumes"][3] = {"name": "cache", "hostPath": {"path": "/mnt"}}


@mutation(GPU, "pods_are_restricted")
def host_network(documents: list[Document]) -> None:
    worker(documents)["hostNetwork"] = True


@mutation(GPU, "resources_are_bounded")
def no_memory_limit(documents: list[Document]) -> None:
    del worker(documents)["containers"][0]["resources"]["limits"]["memory"]


@mutation(GPU, "resources_are_bounded")
def request_above_its_limit(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["resources"]["requests"]["cpu"] = "9000m"


@mutation(GPU, "resources_are_bounded")
def cache_above_the_limit_of_disk(documents: list[Document]) -> None:
    worker(documents)["volumes"][3]["emptyDir"]["sizeLimit"] = "200Gi"


@mutation(GPU, "resources_are_bounded")
def shared_memory_above_half_of_memory(documents: list[Document]) -> None:
    worker(documents)["volumes"][0]["emptyDir"]["sizeLimit"] = "30Gi"


@mutation(GPU, "images_are_pinned")
def image_latest(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["image"] = "registry.example.com/unbraid:latest"


@mutation(LOCAL, "images_are_pinned")
def image_without_a_tag_behind_a_port(documents: list[Document]) -> None:
    one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost:5000/seaweedfs"


@mutation(GPU, "images_are_pinned")
def head_with_another_image(documents: list[Document]) -> None:
    head(documents)["containers"][0]["image"] = "registry.example.com/unbraid:0.2.0-gpu"


@mutation(GPU, "no_secret_values")
def key_in_the_environment(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"})


@mutation(GPU, "no_secret_values")
def key_in_a_config_map(documents: list[Document]) -> None:
    one(documents, "ConfigMap", "unbraid-storage")["data"]["AWS_ACCESS_KEY_ID"] = "x"
