"""Rules for how objects fit together: references, selectors, ports, permissions, namespaces, files."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import yaml

from tests.k8s.pods import PodTemplate, autoscaler_mounts, cluster_spec, name_of, pods_of
from tests.k8s.rendering import K8S
from tests.k8s.rules import Objects, matches, rule
from unbraid.trainers.config.presets import FOLDER_VARIABLE

NAMESPACE = "unbraid"
CLUSTER_WIDE = (
    "Namespace", "PriorityClass", "ClusterQueue", "ResourceFlavor", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)  # fmt: skip
SECRETS = {"unbraid-s3", "unbraid-redis"}
"""The Secrets that an operator creates by hand, as k8s/README.md describes."""
PRESETS = "unbraid-presets"
"""The ConfigMap of the users' own presets, which they create and change."""
RAY_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080, "agent": 52365}
"""Ray's ports, by the names that KubeRay looks for; tests/k8s/test_pods.py sees that Ray opens them."""


@rule
def references_exist(objects: Objects) -> Iterator[str]:
    """The accounts, priority classes, ConfigMaps, Secrets, volumes, queues and services that objects name exist."""
    for pod in objects.pods():
        for kind, name in _references(pod):
            known = SECRETS if kind == "Secret" else objects.names(kind)
            if name not in known:
                yield f"{pod.where}: there is no {kind} {name}"
        templates = pod.owner.get("spec", {}).get("volumeClaimTemplates", [])
        volumes = {v["name"] for v in pod.spec.get("volumes", [])} | {t["metadata"]["name"] for t in templates}
        mounted = {mount["name"] for c in pod.containers for mount in c.get("volumeMounts", [])} | autoscaler_mounts(pod).keys()
        yield from (f"{pod.where}: there is no volume {name}" for name in mounted - volumes)
        yield from (f"{pod.where}: no container mounts volume {name}" for name in volumes - mounted)
    for document in objects.applied:
        queue = document["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
        if queue and queue not in objects.names("LocalQueue"):
            yield f"{name_of(document)}: there is no LocalQueue {queue}"
        if document["kind"] == "LocalQueue" and document["spec"]["clusterQueue"] not in objects.names("ClusterQueue"):
            yield f"{name_of(document)}: there is no ClusterQueue {document['spec']['clusterQueue']}"
        if document["kind"] == "ClusterQueue":
            flavors = {f["name"] for group in document["spec"]["resourceGroups"] for f in group["flavors"]}
            yield from (
                f"{name_of(document)}: there is no ResourceFlavor {n}" for n in flavors - objects.names("ResourceFlavor")
            )
        if document["kind"] == "RoleBinding" and document["roleRef"]["name"] not in objects.names(document["roleRef"]["kind"]):
            yield f"{name_of(document)}: there is no {document['roleRef']['kind']} {document['roleRef']['name']}"
        store = (cluster_spec(document) or {}).get("gcsFaultToleranceOptions", {})
        if store:
            if store["redisPassword"]["valueFrom"]["secretKeyRef"]["name"] not in SECRETS:
                yield f"{name_of(document)}: the Secret of Redis' password is not one of {sorted(SECRETS)}"
            if urlsplit(store["redisAddress"]).hostname not in objects.names("Service"):
                yield f"{name_of(document)}: there is no Service for {store['redisAddress']}"
        endpoint = document.get("data", {}).get("AWS_ENDPOINT_URL") if document["kind"] == "ConfigMap" else None
        if endpoint and urlsplit(endpoint).hostname not in objects.names("Service"):
            yield f"{name_of(document)}: there is no Service for {endpoint}"


def _references(pod: PodTemplate) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    if "priorityClassName" in pod.spec:
        yield "PriorityClass", pod.spec["priorityClassName"]
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                yield "ConfigMap", source["configMapRef"]["name"]
            if "secretRef" in source:
                yield "Secret", source["secretRef"]["name"]
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


@rule
def selectors_match_pods(objects: Objects) -> Iterator[str]:
    """Every selector matches a pod, no policy admits everybody, and one policy denies all traffic to and from all pods."""
    pods = list(pods_of(objects.all))
    for document in objects.applied:
        kind, spec = document["kind"], document.get("spec", {})
        if kind == "NetworkPolicy":
            selectors = [spec["podSelector"]] if spec["podSelector"] else []
            for way, peers in (("ingress", "from"), ("egress", "to")):
                for opened in spec.get(way, []):
                    selectors += [peer["podSelector"] for peer in opened.get(peers, []) if "podSelector" in peer]
                    if not opened.get(peers):
                        yield f"{name_of(document)}: allows {way} for everybody"
        elif kind in ("PodDisruptionBudget", "PodMonitor"):
            selectors = [spec["selector"]]
        elif kind == "Service":
            selectors = [{"matchLabels": spec["selector"]}]
        else:
            selectors = []
        for selector in selectors:
            if not any(matches(selector, pod.labels) for pod in pods):
                yield f"{name_of(document)}: the selector matches no pod: {selector}"
    for pod in objects.pods():
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"], pod.labels):
                yield f"{pod.where}: topologySpreadConstraints do not match the pod's own labels"
    denies = [d["spec"] for d in objects.all if d["kind"] == "NetworkPolicy" and d["spec"]["podSelector"] == {}]
    both = [spec for spec in denies if set(spec["policyTypes"]) == {"Ingress", "Egress"}]
    if not any(spec.keys() <= {"podSelector", "policyTypes"} for spec in both):
        yield "no NetworkPolicy denies what the others do not allow"


@rule
def ports_agree(objects: Objects) -> Iterator[str]:
    """Probes, services, policies and monitors name ports that a container opens, and Ray's ports are those of KubeRay."""
    pods = list(pods_of(objects.all))
    for pod in objects.pods():
        for container in pod.containers:
            named = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(probe, {})
                port = asked.get("httpGet", asked.get("tcpSocket", {})).get("port")
                if port is not None and port not in named and port not in named.values():
                    yield f"{pod.where}: {probe} uses port {port}, which {container['name']} does not open"
            if pod.role in ("head", "worker") and container is pod.spec["containers"][0]:
                wanted = RAY_PORTS if pod.role == "head" else {key: RAY_PORTS[key] for key in ("metrics", "agent")}
                if named != wanted:
                    yield f"{pod.where}: opens {named}, expected {wanted}"
    for document in objects.applied:
        spec = document.get("spec", {})
        if document["kind"] == "Service":
            for port in spec["ports"]:
                if not any(_opens(p, port["targetPort"]) for p in pods if matches({"matchLabels": spec["selector"]}, p.labels)):
                    yield f"{name_of(document)}: no pod opens {port['targetPort']}"
        if document["kind"] == "PodMonitor":
            for endpoint in spec["podMetricsEndpoints"]:
                if not all(_opens(p, endpoint["port"]) for p in pods if p.role in ("head", "worker")):
                    yield f"{name_of(document)}: not every pod opens {endpoint['port']}"
        if document["kind"] == "NetworkPolicy":
            for opened in spec.get("ingress", []):
                for port in opened.get("ports", []):
                    if not any(_opens(p, port["port"]) for p in pods if matches(spec["podSelector"], p.labels)):
                        yield f"{name_of(document)}: allows ingress to port {port['port']}, which no pod opens"
            for opened in spec.get("egress", []):
                targets = [peer["podSelector"] for peer in opened.get("to", []) if "podSelector" in peer]
                for port in opened.get("ports", []):
                    if targets and not any(_opens(p, port["port"]) for p in pods if any(matches(t, p.labels) for t in targets)):
                        yield f"{name_of(document)}: allows egress to port {port['port']}, which no pod opens"
        for part in ("headGroupSpec", "workerGroupSpecs"):
            groups = (cluster_spec(document) or {}).get(part, [])
            for group in groups if isinstance(groups, list) else [groups]:
                for key, name in (("metrics-export-port", "metrics"), ("dashboard-agent-listen-port", "agent")):
                    if str(group["rayStartParams"].get(key)) != str(RAY_PORTS[name]):
                        yield f"{name_of(document)}: {part}: {key} is {group['rayStartParams'].get(key)}"


def _opens(pod: PodTemplate, port: object) -> bool:
    return any(port in (p.get("name"), p["containerPort"]) for c in pod.containers for p in c.get("ports", []))


@rule
def permissions_are_minimal(objects: Objects) -> Iterator[str]:
    """Roles have no wildcard and no access to secrets."""
    for document in objects.applied:
        if document["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{name_of(document)}: grants permissions in all namespaces"
        for entry in document.get("rules", []) if document["kind"] == "Role" else []:
            if "*" in [*entry["apiGroups"], *entry["resources"], *entry["verbs"]]:
                yield f"{name_of(document)}: has a wildcard"
            if {"secrets", "pods/exec"} & set(entry["resources"]):
                yield f"{name_of(document)}: grants permissions on {entry['resources']}"


@rule
def namespaces_are_right(objects: Objects) -> Iterator[str]:
    """Namespaced objects are in the one namespace, which enforces the standard "restricted"; no object is there twice."""
    seen: set[tuple[str, str]] = set()
    for document in objects.applied:
        kind, metadata = document["kind"], document["metadata"]
        if metadata.get("namespace") != (None if kind in CLUSTER_WIDE else NAMESPACE):
            yield f"{name_of(document)}: has the namespace {metadata.get('namespace')}"
        if (kind, metadata["name"]) in seen:
            yield f"{name_of(document)}: is there twice"
        seen.add((kind, metadata["name"]))
        level = metadata.get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if kind == "Namespace" and level != "restricted":
            yield f"{name_of(document)}: enforces the standard {level}"


@rule
def own_presets_are_read(objects: Objects) -> Iterator[str]:
    """Ray's pods read the users' presets from their ConfigMap and start without it; nothing that is applied overwrites it."""
    for document in objects.applied:
        if (document["kind"], document["metadata"]["name"]) == ("ConfigMap", PRESETS):
            yield f"{name_of(document)}: overwrites the presets that users put there"
    for pod in (pod for pod in objects.pods() if pod.role):
        container = pod.spec["containers"][0]
        maps = {volume["name"]: volume.get("configMap") for volume in pod.spec["volumes"]}
        folder = next((each.get("value") for each in container["env"] if each["name"] == FOLDER_VARIABLE), None)
        mounted = [maps[mount["name"]] for mount in container["volumeMounts"] if mount["mountPath"] == folder]
        if mounted != [{"name": PRESETS, "optional": True}]:
            yield f"{pod.where}: {FOLDER_VARIABLE}={folder} is not where the optional ConfigMap {PRESETS} is mounted"


@rule
def files_are_the_tested_ones(objects: Objects) -> Iterator[str]:
    """The alert rules and the dashboard that are applied are the tested ones."""
    for document in objects.applied:
        name, data = document["metadata"]["name"], document.get("data", {})
        if name == "unbraid-dashboard" and data.get("dashboard.json") != _text("dashboard.json"):
            yield f"{name_of(document)}: is not the tested dashboard"
        if document["kind"] == "PrometheusRule" and document["spec"] != yaml.safe_load(_text("alerts.yaml"))["spec"]:
            yield f"{name_of(document)}: differs from the tested rules"


def _text(name: str) -> str:
    return (K8S / "components" / "monitoring" / name).read_text()
