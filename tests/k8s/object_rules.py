"""Rules about how objects go together: references, selectors, ports, rights, names, files."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import yaml

from tests.k8s.pods import PodOf, cluster_spec, name_of, pods_of
from tests.k8s.rendering import K8S
from tests.k8s.scene import Scene, matches, rule
from unbraid.trainers.config.presets import FOLDER_VARIABLE

NAMESPACE = "unbraid"
CLUSTER_WIDE = ("Namespace", "PriorityClass", "ClusterQueue", "ResourceFlavor")
SECRETS = {"unbraid-s3", "unbraid-redis"}
"""That an operator makes by hand; k8s/README.md says how."""
PRESETS = "unbraid-presets"
"""The ConfigMap of the users' own presets, which they create and change."""
RAY_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080, "agent": 52365}
"""By the names under which KubeRay looks for them; a test sees that Ray opens those."""


@rule
def references_exist(scene: Scene) -> Iterator[str]:
    """Accounts, classes, maps, secrets, volumes and queues that are named."""
    for pod in scene.pods():
        for kind, name in _references(pod):
            known = SECRETS if kind == "Secret" else scene.names(kind)
            if name not in known:
                yield f"{pod.where}: there is no {kind} {name}"
        templates = pod.owner.get("spec", {}).get("volumeClaimTemplates", [])
        volumes = {v["name"] for v in pod.spec.get("volumes", [])} | {t["metadata"]["name"] for t in templates}
        mounted = {mount["name"] for c in pod.containers for mount in c.get("volumeMounts", [])}
        yield from (f"{pod.where}: there is no volume {name}" for name in mounted - volumes)
        yield from (f"{pod.where}: volume {name} is mounted nowhere" for name in volumes - mounted)
    for document in scene.documents:
        queue = document["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
        if queue and queue not in scene.names("LocalQueue"):
            yield f"{name_of(document)}: there is no LocalQueue {queue}"
        if document["kind"] == "LocalQueue" and document["spec"]["clusterQueue"] not in scene.names("ClusterQueue"):
            yield f"{name_of(document)}: there is no ClusterQueue {document['spec']['clusterQueue']}"
        if document["kind"] == "ClusterQueue":
            flavors = {f["name"] for group in document["spec"]["resourceGroups"] for f in group["flavors"]}
            yield from (f"{name_of(document)}: there is no ResourceFlavor {n}" for n in flavors - scene.names("ResourceFlavor"))
        if document["kind"] == "RoleBinding" and document["roleRef"]["name"] not in scene.names(document["roleRef"]["kind"]):
            yield f"{name_of(document)}: there is no {document['roleRef']['kind']} {document['roleRef']['name']}"
        store = (cluster_spec(document) or {}).get("gcsFaultToleranceOptions", {})
        if store:
            if store["redisPassword"]["valueFrom"]["secretKeyRef"]["name"] not in SECRETS:
                yield f"{name_of(document)}: Redis' password comes from a Secret that nobody makes"
            if urlsplit(store["redisAddress"]).hostname not in scene.names("Service"):
                yield f"{name_of(document)}: there is no Service for {store['redisAddress']}"
        endpoint = document.get("data", {}).get("AWS_ENDPOINT_URL") if document["kind"] == "ConfigMap" else None
        if endpoint and urlsplit(endpoint).hostname not in scene.names("Service"):
            yield f"{name_of(document)}: there is no Service for {endpoint}"


def _references(pod: PodOf) -> Iterator[tuple[str, str]]:
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
def selectors_select(scene: Scene) -> Iterator[str]:
    """What selects pods selects some; a deny that leaves a pod out is none."""
    pods = list(pods_of(scene.all))
    for document in scene.documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind == "NetworkPolicy":
            selectors = [spec["podSelector"]] if spec["podSelector"] else []
            for way, peers in (("ingress", "from"), ("egress", "to")):
                for opened in spec.get(way, []):
                    selectors += [peer["podSelector"] for peer in opened.get(peers, []) if "podSelector" in peer]
                    if not opened.get(peers):
                        yield f"{name_of(document)}: opens {way} for everybody"
        elif kind in ("PodDisruptionBudget", "PodMonitor"):
            selectors = [spec["selector"]]
        elif kind == "Service":
            selectors = [{"matchLabels": spec["selector"]}]
        else:
            selectors = []
        for selector in selectors:
            if not any(matches(selector, pod.labels) for pod in pods):
                yield f"{name_of(document)}: selects no pod: {selector}"
    for pod in scene.pods():
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"], pod.labels):
                yield f"{pod.where}: is spread among pods that are not its own"
    denies = [d["spec"] for d in scene.all if d["kind"] == "NetworkPolicy" and d["spec"]["podSelector"] == {}]
    both = [spec for spec in denies if set(spec["policyTypes"]) == {"Ingress", "Egress"}]
    if not any(spec.keys() <= {"podSelector", "policyTypes"} for spec in both):
        yield "nothing denies what is not opened"


@rule
def ports_agree(scene: Scene) -> Iterator[str]:
    """Probes, services, policies and monitors name ports that a container opens, and Ray's are where KubeRay looks."""
    pods = list(pods_of(scene.all))
    for pod in scene.pods():
        for container in pod.containers:
            named = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(probe, {})
                port = asked.get("httpGet", asked.get("tcpSocket", {})).get("port")
                if port is not None and port not in named and port not in named.values():
                    yield f"{pod.where}: {probe} asks port {port}, which {container['name']} does not open"
            if pod.role in ("head", "worker") and container is pod.spec["containers"][0]:
                wanted = RAY_PORTS if pod.role == "head" else {key: RAY_PORTS[key] for key in ("metrics", "agent")}
                if named != wanted:
                    yield f"{pod.where}: opens {named}, Ray {wanted}"
    for document in scene.documents:
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
                        yield f"{name_of(document)}: opens {port['port']}, where nothing listens"
            for opened in spec.get("egress", []):
                targets = [peer["podSelector"] for peer in opened.get("to", []) if "podSelector" in peer]
                for port in opened.get("ports", []):
                    if targets and not any(_opens(p, port["port"]) for p in pods if any(matches(t, p.labels) for t in targets)):
                        yield f"{name_of(document)}: lets {port['port']} out to where nothing listens"
        for part in ("headGroupSpec", "workerGroupSpecs"):
            groups = (cluster_spec(document) or {}).get(part, [])
            for group in groups if isinstance(groups, list) else [groups]:
                for key, name in (("metrics-export-port", "metrics"), ("dashboard-agent-listen-port", "agent")):
                    if str(group["rayStartParams"].get(key)) != str(RAY_PORTS[name]):
                        yield f"{name_of(document)}: {part} starts Ray with {key} {group['rayStartParams'].get(key)}"


def _opens(pod: PodOf, port: object) -> bool:
    return any(port in (p.get("name"), p["containerPort"]) for c in pod.containers for p in c.get("ports", []))


@rule
def rights_are_few(scene: Scene) -> Iterator[str]:
    """No wildcard, no secrets; tokens only where they are used."""
    for document in scene.documents:
        if document["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{name_of(document)}: rights in all namespaces"
        for entry in document.get("rules", []) if document["kind"] == "Role" else []:
            if "*" in [*entry["apiGroups"], *entry["resources"], *entry["verbs"]]:
                yield f"{name_of(document)}: a wildcard"
            if {"secrets", "pods/exec"} & set(entry["resources"]):
                yield f"{name_of(document)}: rights on {entry['resources']}"
    for pod in scene.pods():
        cluster = cluster_spec(pod.owner) or {}
        if pod.spec.get("automountServiceAccountToken") is not (
            pod.role == "head" and bool(cluster.get("enableInTreeAutoscaling"))
        ):
            yield f"{pod.where}: a token of Kubernetes lies in it without need, or is missing"


@rule
def names_are_in_place(scene: Scene) -> Iterator[str]:
    """One namespace, and what has none has none; nothing twice."""
    seen: set[tuple[str, str]] = set()
    for document in scene.documents:
        kind, metadata = document["kind"], document["metadata"]
        if metadata.get("namespace") != (None if kind in CLUSTER_WIDE else NAMESPACE):
            yield f"{name_of(document)}: its namespace is {metadata.get('namespace')}"
        if (kind, metadata["name"]) in seen:
            yield f"{name_of(document)}: is there twice"
        seen.add((kind, metadata["name"]))
        level = metadata.get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if kind == "Namespace" and level != "restricted":
            yield f"{name_of(document)}: enforces {level}"


@rule
def own_presets_are_read(scene: Scene) -> Iterator[str]:
    """Ray's pods read the users' presets from their ConfigMap and start without it; nothing that is applied overwrites it."""
    for document in scene.documents:
        if (document["kind"], document["metadata"]["name"]) == ("ConfigMap", PRESETS):
            yield f"{name_of(document)}: overwrites the presets that users put there"
    for pod in (pod for pod in scene.pods() if pod.role):
        container = pod.spec["containers"][0]
        maps = {volume["name"]: volume.get("configMap") for volume in pod.spec["volumes"]}
        folder = next((each.get("value") for each in container["env"] if each["name"] == FOLDER_VARIABLE), None)
        mounted = [maps[mount["name"]] for mount in container["volumeMounts"] if mount["mountPath"] == folder]
        if mounted != [{"name": PRESETS, "optional": True}]:
            yield f"{pod.where}: {FOLDER_VARIABLE}={folder} is not where the optional ConfigMap {PRESETS} is mounted"


@rule
def files_are_the_same(scene: Scene) -> Iterator[str]:
    """The alert rules and the dashboard that are applied are the tested ones."""
    for document in scene.documents:
        name, data = document["metadata"]["name"], document.get("data", {})
        if name == "unbraid-dashboard" and data.get("dashboard.json") != _text("dashboard.json"):
            yield f"{name_of(document)}: is not the dashboard that is tested"
        if document["kind"] == "PrometheusRule" and document["spec"] != yaml.safe_load(_text("alerts.yaml"))["spec"]:
            yield f"{name_of(document)}: are not the rules that are tested"


def _text(name: str) -> str:
    return (K8S / "components" / "monitoring" / name).read_text()
