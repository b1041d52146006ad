"""Rules for pods: Pod Security, resource limits, images, secrets, GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.k8s.pods import PodTemplate, cluster_spec, name_of, pods_of
from tests.k8s.rules import Objects, quantity, rule

ALLOWED_VOLUMES = {"emptyDir", "configMap", "secret", "projected", "downwardAPI", "persistentVolumeClaim", "ephemeral"}
SECRET_NAMES = re.compile(r"(SECRET|PASSWORD|TOKEN|ACCESS_KEY)", re.I)


@rule
def pods_are_restricted(objects: Objects) -> Iterator[str]:
    """Pods meet the Pod Security Standard "restricted"."""
    for pod in objects.pods():
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            yield f"{pod.where}: may run as root"
        if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{pod.where}: no seccomp profile"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(key):
                yield f"{pod.where}: {key}"
        for volume in pod.spec.get("volumes", []):
            if set(volume) - {"name"} - ALLOWED_VOLUMES:
                yield f"{pod.where}: volume {volume['name']} has a type that the standard 'restricted' forbids"
        contexts = [(c["name"], c.get("securityContext", {})) for c in pod.containers]
        cluster = cluster_spec(pod.owner) or {}
        if pod.role == "head" and cluster.get("enableInTreeAutoscaling"):
            contexts.append(("autoscaler", cluster.get("autoscalerOptions", {}).get("securityContext", {})))
        for name, own in contexts:
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{pod.where}: {name} may gain privileges"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
                yield f"{pod.where}: {name} keeps capabilities"
            if own.get("runAsUser") == 0 or own.get("runAsNonRoot") is False:
                yield f"{pod.where}: {name} may run as root"
        for container in pod.containers:
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{pod.where}: {container['name']} takes a port of the host"


@rule
def resources_are_bounded(objects: Objects) -> Iterator[str]:
    """Every container has requests and limits, requests do not exceed limits, and volumes fit into the limits."""
    for pod in objects.pods():
        for container in pod.containers:
            where = f"{pod.where}: {container['name']}"
            requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
            for name in ("cpu", "memory"):
                if name not in requests or name not in limits:
                    yield f"{where} has no request or no limit for {name}"
            for name, amount in requests.items():
                if name in limits and quantity(amount) > quantity(limits[name]):
                    yield f"{where} requests more {name} than its limit"
            for name in limits:
                if "/" in name and str(requests.get(name)) != str(limits[name]):
                    yield f"{where}: the request of {name} must equal its limit"
        yield from _volumes_fit(pod)


def _volumes_fit(pod: PodTemplate) -> Iterator[str]:
    limits = pod.spec["containers"][0].get("resources", {}).get("limits", {})
    disk, memory = 0.0, 0.0
    for volume in pod.spec.get("volumes", []):
        if "emptyDir" in volume:
            size = volume["emptyDir"].get("sizeLimit")
            if size is None:
                yield f"{pod.where}: volume {volume['name']} has no sizeLimit"
            elif volume["emptyDir"].get("medium") == "Memory":
                memory += quantity(size)
            else:
                disk += quantity(size)
    if disk and disk > quantity(limits.get("ephemeral-storage", "0")):
        yield f"{pod.where}: its volumes may exceed the container's limit of ephemeral-storage"
    if memory and memory > quantity(limits.get("memory", "0")) / 2:
        yield f"{pod.where}: shared memory may exceed half of the container's memory"


@rule
def images_are_pinned(objects: Objects) -> Iterator[str]:
    """Every image has a version, and all pods of a cluster have the same image."""
    for pod in objects.pods():
        for container in pod.containers:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if not tag or tag == "latest":
                yield f"{pod.where}: image {container['image']} has no version"
    for document in objects.applied:
        ours = {c["image"] for pod in pods_of([document]) if pod.role for c in pod.containers}
        if len(ours) > 1:
            yield f"{name_of(document)}: the pods of this cluster have different images: {sorted(ours)}"


@rule
def no_secret_values(objects: Objects) -> Iterator[str]:
    """The manifests contain no secret values."""
    for document in objects.applied:
        if document["kind"] == "Secret":
            yield f"{name_of(document)}: the manifests must not contain a Secret"
        if document["kind"] == "ConfigMap":
            yield from (
                f"{name_of(document)}: {key} is a secret" for key in document.get("data", {}) if SECRET_NAMES.search(key)
            )
    for pod in objects.pods():
        for container in pod.containers:
            for variable in container.get("env", []):
                if SECRET_NAMES.search(variable["name"]) and "value" in variable:
                    yield f"{pod.where}: the value of {variable['name']} is in the manifest"


@rule
def gpu_pods_go_to_gpu_nodes(objects: Objects) -> Iterator[str]:
    """A pod that requests a GPU tolerates the taint of GPU nodes and selects them; other pods do neither."""
    for pod in objects.pods():
        wants = "nvidia.com/gpu" in pod.spec["containers"][0].get("resources", {}).get("limits", {})
        tolerated = any(t.get("key") == "nvidia.com/gpu" for t in pod.spec.get("tolerations", []))
        if wants and not tolerated:
            yield f"{pod.where}: requests a GPU, but does not tolerate the taint of GPU nodes"
        if tolerated and not wants:
            yield f"{pod.where}: tolerates the taint of GPU nodes, but requests no GPU"
        if wants and pod.spec.get("nodeSelector", {}).get("nvidia.com/gpu.present") != "true":
            yield f"{pod.where}: requests a GPU, but does not select GPU nodes"
