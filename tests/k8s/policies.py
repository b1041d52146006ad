"""What must hold for rendered objects beyond their schemas: each rule yields what breaks it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import click
import yaml

from cluster.kube import LONGEST_NAME, NAME
from cluster.work import work_of
from tests.k8s.pods import PodOf, cluster_spec, job_spec, name_of, pods_of
from tests.k8s.rendering import K8S, ROOT, Document
from tests.k8s.schemas import schema_findings
from trainers.errors import TrainingError

NAMESPACE = "unbraid"
CLUSTER_WIDE = ("Namespace", "PriorityClass", "ClusterQueue", "ResourceFlavor")
SECRETS = {"unbraid-s3", "unbraid-redis"}
"""That an operator makes by hand; k8s/README.md says how."""
ALLOWED_VOLUMES = {"emptyDir", "configMap", "secret", "projected", "downwardAPI", "persistentVolumeClaim", "ephemeral"}
SECRET_NAMES = re.compile(r"(SECRET|PASSWORD|TOKEN|ACCESS_KEY)", re.I)
RAY_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080, "agent": 52365}
"""By the names under which KubeRay looks for them; a test sees that Ray opens those."""
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3, "": 1.0}


@dataclass(frozen=True)
class Scene:
    """What is applied, and what is there with it.

    Attributes:
        documents: that are checked.
        there: applied before, a job's overlay.
    """

    documents: list[Document]
    there: list[Document]

    @property
    def all(self) -> list[Document]:
        """Both."""
        return [*self.there, *self.documents]

    def names(self, kind: str) -> set[str]:
        """Of everything of a kind."""
        return {d["metadata"]["name"] for d in self.all if d["kind"] == kind}

    def pods(self) -> Iterator[PodOf]:
        """Of what is checked."""
        return pods_of(self.documents)


Rule = Callable[[Scene], Iterable[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Add a rule to those that are checked."""
    RULES.append(function)
    return function


def quantity(text: object) -> float:
    """A number of Kubernetes: ``500m``, ``2Gi``, ``"4"``."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


@rule
def pods_are_restricted(scene: Scene) -> Iterator[str]:
    """Pod Security's strictest standard."""
    for pod in scene.pods():
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
                yield f"{pod.where}: volume {volume['name']} is of a kind that is not allowed"
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
def resources_are_bounded(scene: Scene) -> Iterator[str]:
    """Every container asks for what it needs, and for no more than it may have."""
    for pod in scene.pods():
        for container in pod.containers:
            where = f"{pod.where}: {container['name']}"
            requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
            for name in ("cpu", "memory"):
                if name not in requests or name not in limits:
                    yield f"{where} has no request or no limit of {name}"
            for name, amount in requests.items():
                if name in limits and quantity(amount) > quantity(limits[name]):
                    yield f"{where} requests more {name} than its limit"
            for name in limits:
                if "/" in name and str(requests.get(name)) != str(limits[name]):
                    yield f"{where}: {name} must be requested as it is limited"
        yield from _volumes_fit(pod)


def _volumes_fit(pod: PodOf) -> Iterator[str]:
    limits = pod.spec["containers"][0].get("resources", {}).get("limits", {})
    disk, memory = 0.0, 0.0
    for volume in pod.spec.get("volumes", []):
        if "emptyDir" in volume:
            size = volume["emptyDir"].get("sizeLimit")
            if size is None:
                yield f"{pod.where}: volume {volume['name']} has no limit"
            elif volume["emptyDir"].get("medium") == "Memory":
                memory += quantity(size)
            else:
                disk += quantity(size)
    if disk and disk > quantity(limits.get("ephemeral-storage", "0")):
        yield f"{pod.where}: its volumes may take more than the container's limit of ephemeral-storage"
    if memory and memory > quantity(limits.get("memory", "0")) / 2:
        yield f"{pod.where}: shared memory may take more than half of the container's memory"


@rule
def images_are_pinned(scene: Scene) -> Iterator[str]:
    """The same image for all pods of a cluster, by a version."""
    for pod in scene.pods():
        for container in pod.containers:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if not tag or tag == "latest":
                yield f"{pod.where}: image {container['image']} has no version"
    for document in scene.documents:
        ours = {c["image"] for pod in pods_of([document]) if pod.role for c in pod.containers}
        if len(ours) > 1:
            yield f"{name_of(document)}: pods of one cluster have images {sorted(ours)}"


@rule
def nothing_is_secret(scene: Scene) -> Iterator[str]:
    """No secret value is in the manifests."""
    for document in scene.documents:
        if document["kind"] == "Secret":
            yield f"{name_of(document)}: a Secret with values"
        if document["kind"] == "ConfigMap":
            yield from (f"{name_of(document)}: {key}" for key in document.get("data", {}) if SECRET_NAMES.search(key))
    for pod in scene.pods():
        for container in pod.containers:
            for variable in container.get("env", []):
                if SECRET_NAMES.search(variable["name"]) and "value" in variable:
                    yield f"{pod.where}: {variable['name']} has its value in the manifest"


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
            if re.fullmatch(r"rediss?://([^:]+):\d+", store["redisAddress"])[1] not in scene.names("Service"):  # type: ignore[index]
                yield f"{name_of(document)}: there is no Service for {store['redisAddress']}"
        endpoint = document.get("data", {}).get("AWS_ENDPOINT_URL") if document["kind"] == "ConfigMap" else None
        if endpoint and re.fullmatch(r"https?://([^:/]+).*", endpoint)[1] not in scene.names("Service"):  # type: ignore[index]
            yield f"{name_of(document)}: there is no Service for {endpoint}"


def _references(pod: PodOf) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    if "priorityClassName" in pod.spec:
        yield "PriorityClass", pod.spec["priorityClassName"]
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
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


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a selector by labels selects."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


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
def ray_is_the_same(scene: Scene) -> Iterator[str]:
    """One version of Ray: in the cluster, the image and the constraints."""
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    dockerfile = (K8S / "image" / "Dockerfile").read_text()
    built = re.search(r"^ARG RAY_VERSION=(\S+)", dockerfile, re.M)
    if built is None or built[1] != constraints["ray"]:
        yield f"k8s/image/Dockerfile: RAY_VERSION is {built and built[1]}, constraints.txt has {constraints['ray']}"
    for document in scene.documents:
        cluster = cluster_spec(document)
        if cluster is not None and cluster.get("rayVersion") != constraints["ray"]:
            yield f"{name_of(document)}: rayVersion {cluster.get('rayVersion')}, constraints.txt has {constraints['ray']}"


@rule
def commands_are_ours(scene: Scene) -> Iterator[str]:
    """Entrypoints and hooks are commands that this tree accepts, with its presets and campaigns."""
    from cluster.cli import main

    for document in scene.documents:
        job = job_spec(document)
        if job is not None:
            program, *arguments = shlex.split(job["entrypoint"])
            try:
                if program != "unbraid":
                    raise click.UsageError(f"{program} is not unbraid")
                work_of(arguments, ROOT, here=False, uploaded=True)
            except (TrainingError, click.ClickException) as error:
                yield f"{name_of(document)}: its entrypoint is refused: {error}"
            if "data.cache" in job["entrypoint"] and "data.cache=/cache" not in job["entrypoint"]:
                yield f"{name_of(document)}: data.cache is not where the volume is mounted"
    for pod in scene.pods():
        hook = pod.spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook is None:
            if pod.role in ("head", "worker"):
                yield f"{pod.where}: saves nothing before it ends"
            continue
        try:
            if hook[:2] != ["unbraid", "drain"]:
                raise click.UsageError(f"{hook} is not `unbraid drain`")
            seconds = main.commands["drain"].make_context("drain", list(hook[2:])).params["seconds"]
        except click.ClickException as error:
            yield f"{pod.where}: its preStop is refused: {error}"
            continue
        if not 10 <= seconds <= pod.spec.get("terminationGracePeriodSeconds", 30) - 5:
            yield f"{pod.where}: preStop takes {seconds} s of a grace of {pod.spec.get('terminationGracePeriodSeconds', 30)} s"


@rule
def kuberay_accepts(scene: Scene) -> Iterator[str]:
    """What KubeRay's operator refuses after the API server has taken it (its own validation, 1.7)."""
    for document in scene.documents:
        cluster, job = cluster_spec(document), job_spec(document)
        name = document["metadata"]["name"]
        if cluster is None:
            continue
        where = name_of(document)
        if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            yield f"{where}: not a name for a RayJob or RayCluster"
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        scales = bool(cluster.get("enableInTreeAutoscaling"))
        for group in groups:
            if scales and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{where}: autoscaler v2 wants restartPolicy Never"
        for group in cluster["workerGroupSpecs"]:
            if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
                yield f"{where}: replicas {group['replicas']} are not within {group['minReplicas']} and {group['maxReplicas']}"
        if cluster.get("authOptions", {}).get("mode") != "token":
            yield f"{where}: everybody who reaches the head may run code there"
        if str(cluster["headGroupSpec"]["rayStartParams"].get("num-cpus")) != "0":
            yield f"{where}: work may be placed on the head"
        if job is not None:
            yield from (f"{where}: {text}" for text in _job(job, scales, document))
        if document["kind"] == "RayCronJob" and len(document["spec"]["schedule"].split()) != 5:
            yield f"{where}: schedule {document['spec']['schedule']!r} has not five fields"


def _job(job: Document, scales: bool, document: Document) -> Iterator[str]:
    rules = job.get("deletionStrategy", {}).get("deletionRules", [])
    queued = "kueue.x-k8s.io/queue-name" in document["metadata"].get("labels", {})
    if rules and job.get("shutdownAfterJobFinishes"):
        yield "deletion rules and shutdownAfterJobFinishes exclude each other"
    if not rules and not job.get("shutdownAfterJobFinishes"):
        yield "its cluster would stay for ever"
    if job.get("ttlSecondsAfterFinished") and not job.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished without shutdownAfterJobFinishes"
    if queued and (scales or not job.get("shutdownAfterJobFinishes")):
        yield "Kueue takes no job that scales, or whose cluster stays"
    if scales and any(entry["policy"] == "DeleteWorkers" for entry in rules):
        yield "DeleteWorkers does not go with autoscaling"
    order = ["DeleteWorkers", "DeleteCluster", "DeleteSelf"]
    for status in ("SUCCEEDED", "FAILED"):
        times = [
            e["condition"]["ttlSeconds"]
            for p in order
            for e in rules
            if e["policy"] == p and e["condition"]["jobStatus"] == status
        ]
        if times != sorted(times):
            yield f"deletion rules of {status} are not in order"
        if rules and not times:
            yield f"nothing is deleted after {status}"
    if job.get("submissionMode") != "HTTPMode":
        yield "its end is taken from a log stream (KubeRay issue 4921)"
    if job.get("backoffLimit", 0) < 1:
        yield "a lost head ends it"
    if job.get("activeDeadlineSeconds", 0) <= 0:
        yield "it has no deadline"


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
def files_are_the_same(scene: Scene) -> Iterator[str]:
    """The presets are this tree's, the rules and the dashboard those that are tested."""
    for document in scene.documents:
        name, data = document["metadata"]["name"], document.get("data", {})
        if name == "unbraid-presets":
            folder = ROOT / "trainers" / "presets"
            if data != {path.name: path.read_text() for path in folder.glob("*.yaml")}:
                yield f"{name_of(document)}: is not what trainers/presets holds"
        if name == "unbraid-dashboard" and data.get("dashboard.json") != _text("dashboard.json"):
            yield f"{name_of(document)}: is not the dashboard that is tested"
        if document["kind"] == "PrometheusRule" and document["spec"] != yaml.safe_load(_text("alerts.yaml"))["spec"]:
            yield f"{name_of(document)}: are not the rules that are tested"


def _text(name: str) -> str:
    return (K8S / "components" / "monitoring" / name).read_text()


@rule
def logs_are_found(scene: Scene) -> Iterator[str]:
    """Ray's files lie where the head's sidecar, and KubeRay's autoscaler, look for them."""
    for document in scene.documents:
        cluster = cluster_spec(document)
        folder = cluster["headGroupSpec"]["rayStartParams"].get("temp-dir") if cluster else None
        if cluster and folder != "/tmp/ray":  # noqa: S108 - KubeRay mounts that
            yield f"{name_of(document)}: Ray's files lie in {folder}"
        pods = [pod for pod in pods_of([document]) if pod.role == "head"]
        for container in (c for pod in pods for c in pod.containers):
            if folder not in [mount["mountPath"] for mount in container["volumeMounts"]]:
                yield f"{name_of(document)}: {container['name']} does not see {folder}"


@rule
def gpus_are_reached(scene: Scene) -> Iterator[str]:
    """Who asks for a GPU tolerates the taint of GPU nodes, and a queue's flavour is of those nodes."""
    for pod in scene.pods():
        wants = "nvidia.com/gpu" in pod.spec["containers"][0].get("resources", {}).get("limits", {})
        tolerated = any(t.get("key") == "nvidia.com/gpu" for t in pod.spec.get("tolerations", []))
        if wants != tolerated:
            yield f"{pod.where}: {'wants a GPU and keeps off its nodes' if wants else 'goes to GPU nodes and wants none'}"
        if wants and pod.spec.get("nodeSelector", {}).get("nvidia.com/gpu.present") != "true":
            yield f"{pod.where}: wants a GPU on any node"


def findings(scene: Scene, only: str | None = None) -> list[str]:
    """What breaks a schema or a rule, each with the rule's name before it, or "schema".

    Args:
        only: the one that is asked; what breaks it may be more than another bears.
    """
    checks = {"schema": lambda scene: schema_findings(scene.documents)} | {rule.__name__: rule for rule in RULES}
    wanted = checks if only is None else {only: checks[only]}
    return [f"{name}: {text}" for name, check in wanted.items() for text in check(scene)]
