"""Rules for what an intruder would look for: tokens of Kubernetes, the policy for jobs, the ports of the S3 server."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.pods import PodTemplate, autoscaler_mounts, cluster_spec, name_of
from tests.k8s.rendering import Document
from tests.k8s.rules import Objects, matches, rule
from unbraid.cluster.local.seaweedfs import CLOSED

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105
"""Where clients of Kubernetes look for their token."""
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@rule
def only_the_autoscaler_has_a_token(objects: Objects) -> Iterator[str]:
    """No container of a pod has a token of Kubernetes, except for the autoscaler's, where there is one."""
    for pod in objects.pods():
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where}: automountServiceAccountToken is not false: all of its containers get a token"
        if pod.spec.get("shareProcessNamespace"):
            yield f"{pod.where}: shareProcessNamespace: containers read each other's files"
        tokens = set(_token_volumes(pod))
        for container in pod.containers:
            if tokens & {mount["name"] for mount in container.get("volumeMounts", [])}:
                yield f"{pod.where}: {container['name']} mounts a token of Kubernetes"
        cluster = cluster_spec(pod.owner) or {}
        scales = pod.role == "head" and bool(cluster.get("enableInTreeAutoscaling"))
        if tokens and not scales:
            yield f"{pod.where}: has a token of Kubernetes and no autoscaler"
        if scales and not any(autoscaler_mounts(pod).get(name) == TOKEN_FOLDER for name in tokens):
            yield f"{pod.where}: the autoscaler has no token of Kubernetes in {TOKEN_FOLDER}"


def _token_volumes(pod: PodTemplate) -> Iterator[str]:
    for volume in pod.spec.get("volumes", []):
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", [])):
            yield volume["name"]


@rule
def jobs_are_checked(objects: Objects) -> Iterator[str]:
    """The namespace's jobs are compared with its RayCluster, and refused when they cannot be."""
    of_kind = {kind: [d for d in objects.applied if d["kind"] == kind] for kind in ("Namespace", "RayCluster")}
    policies = {d["metadata"]["name"]: d["spec"] for d in objects.applied if d["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [d for d in objects.applied if d["kind"] == "ValidatingAdmissionPolicyBinding"]
    for namespace in of_kind["Namespace"]:
        labels = namespace["metadata"].get("labels", {})
        if not any(matches(d["spec"]["matchResources"]["namespaceSelector"], labels) for d in bindings):
            yield f"{name_of(namespace)}: no policy checks the jobs in it"
    for binding in bindings:
        where, spec = name_of(binding), binding["spec"]
        policy = policies.get(spec["policyName"])
        if policy is None:
            yield f"{where}: there is no policy {spec['policyName']}"
            continue
        if spec["validationActions"] != ["Deny"] or policy.get("failurePolicy") != "Fail":
            yield f"{where}: does not refuse what it finds, or what it cannot check"
        compared, found = spec["paramRef"], of_kind["RayCluster"]
        if found and compared.get("name") not in {cluster["metadata"]["name"] for cluster in found}:
            yield f"{where}: there is no RayCluster {compared.get('name')}"
        if compared.get("parameterNotFoundAction") != "Deny" or "namespace" in compared:
            yield f"{where}: must compare jobs with the RayCluster of their own namespace, and refuse them where there is none"
        checked = {resource for entry in policy["matchConstraints"]["resourceRules"] for resource in entry["resources"]}
        if not {"rayjobs", "raycronjobs", "rayclusters"} <= checked:
            yield f"{where}: checks {sorted(checked)} only"


@rule
def researchers_create_jobs_only(objects: Objects) -> Iterator[str]:
    """Whoever may create pods, or objects that hold pods which no policy checks, may run anything."""
    for document in objects.applied:
        if document["kind"] == "Role":
            for entry in document["rules"]:
                changed = {"create", "update", "patch", "delete"} & set(entry["verbs"])
                if changed and (entry["apiGroups"], entry["resources"]) != (["ray.io"], ["rayjobs"]):
                    yield f"{name_of(document)}: may {', '.join(sorted(changed))} {entry['resources']}"


@rule
def s3_server_is_closed(objects: Objects) -> Iterator[str]:
    """The S3 server in the cluster is configured as the local one, and does not start without both keys."""
    for pod in objects.pods():
        for server in pod.spec["containers"]:
            if server.get("command") == ["weed"]:
                yield from (f"{pod.where}: {text}" for text in _open_doors(pod, server))


def _open_doors(pod: PodTemplate, server: Document) -> Iterator[str]:
    missing = set(CLOSED) - set(server["args"])
    if missing:
        yield f"runs without {sorted(missing)}"
    if server.get("env") or server.get("envFrom"):
        yield "its S3 keys are in its environment: the server stores those, and they stay valid when the Secret changes"
    first: Document = next(iter(pod.spec.get("initContainers", [])), {"command": [], "volumeMounts": [{}]})
    if first["command"][:3] != ["python", "-m", "unbraid.cluster.local.seaweedfs"]:
        yield "nothing makes its keys and certificates"
        return
    folder = first["command"][3]
    if not {f"-config_dir={folder}", f"-s3.config={folder}/s3.json", "-ip=127.0.0.1"} <= set(server["args"]):
        yield f"does not read {folder}, or its parts do not speak to each other on loopback"
    mounts = [mount["name"] for c in (first, server) for mount in c["volumeMounts"] if mount["mountPath"] == folder]
    volume: Document = next((v for v in pod.spec["volumes"] if mounts and v["name"] == mounts[0]), {})
    if len(set(mounts)) != 1 or len(mounts) != 2 or volume.get("emptyDir", {}).get("medium") != "Memory":
        yield f"{folder} is not one volume in memory"
    keys = {v["name"]: v.get("valueFrom", {}).get("secretKeyRef", {}) for v in first.get("env", [])}
    for name in S3_KEYS:
        if keys.get(name, {}).get("key") != name or keys[name].get("optional"):
            yield f"starts without {name}"
