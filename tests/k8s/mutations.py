"""Broken copies of rendered objects: each breaks what one check is for, and must be found by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.k8s.rendering import Document

Break = Callable[[list[Document]], None]


@dataclass(frozen=True)
class Mutation:
    """One way to be wrong.

    Attributes:
        folder: whose objects are broken.
        finder: the rule that must find it; "schema" for schemas.
        name: what is wrong.
        apply: makes it so.
    """

    folder: str
    finder: str
    name: str
    apply: Break


MUTATIONS: list[Mutation] = []


def mutation(folder: str, finder: str) -> Callable[[Break], Break]:
    """Add a mutation to those that must be caught."""

    def add(function: Break) -> Break:
        MUTATIONS.append(Mutation(folder, finder, function.__name__, function))
        return function

    return add


def one(documents: list[Document], kind: str, name: str | None = None) -> Document:
    """The object of a kind, or the one of that name."""
    found = [d for d in documents if d["kind"] == kind and (name is None or d["metadata"]["name"] == name)]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def head(documents: list[Document]) -> Document:
    """The head's pod of the RayCluster."""
    pod: Document = one(documents, "RayCluster")["spec"]["headGroupSpec"]["template"]["spec"]
    return pod


def worker(documents: list[Document]) -> Document:
    """The workers' pod of the RayCluster."""
    pod: Document = one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    return pod


def job(documents: list[Document]) -> Document:
    """The specification of the one RayJob."""
    spec: Document = one(documents, "RayJob")["spec"]
    return spec


GPU, TRAIN, LOCAL, ALL = "overlays/gpu", "jobs/gpu/train", "overlays/local", "overlays/production"


@mutation(GPU, "schema")
def misspelt_field(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["enableInTreeAutoscalling"] = True


@mutation(GPU, "schema")
def misspelt_field_of_a_pod(documents: list[Document]) -> None:
    head(documents)["terminationGraceSeconds"] = 1


@mutation(GPU, "schema")
def wrong_type(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["replicas"] = "none"


@mutation(GPU, "schema")
def autoscaler_of_no_known_version(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["autoscalerOptions"]["version"] = "v3"


@mutation(TRAIN, "schema")
def deletion_by_rules_and_by_the_old_fields(documents: list[Document]) -> None:
    job(documents)["deletionStrategy"]["onSuccess"] = {"policy": "DeleteCluster"}


@mutation(TRAIN, "schema")
def deletion_rule_about_nothing(documents: list[Document]) -> None:
    job(documents)["deletionStrategy"]["deletionRules"][0]["condition"] = {"ttlSeconds": 0}


@mutation(TRAIN, "schema")
def job_of_another_manager(documents: list[Document]) -> None:
    job(documents)["managedBy"] = "nobody"


@mutation("jobs/gpu/nightly", "schema")
def cron_job_without_a_schedule(documents: list[Document]) -> None:
    del one(documents, "RayCronJob")["spec"]["schedule"]


@mutation(GPU, "schema")
def policy_without_a_selector(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-operator")["spec"]["podSelectors"] = {}


@mutation(LOCAL, "schema")
def stateful_set_without_a_selector(documents: list[Document]) -> None:
    del one(documents, "StatefulSet")["spec"]["selector"]


@mutation(ALL, "schema")
def queue_of_another_version(documents: list[Document]) -> None:
    one(documents, "ClusterQueue")["apiVersion"] = "kueue.x-k8s.io/v1alpha1"


@mutation(GPU, "pods_are_restricted")
def root(documents: list[Document]) -> None:
    worker(documents)["securityContext"]["runAsNonRoot"] = False


@mutation(GPU, "pods_are_restricted")
def privileges_to_be_gained(documents: list[Document]) -> None:
    del head(documents)["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"]


@mutation(GPU, "pods_are_restricted")
def capabilities_kept_by_the_autoscaler(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["autoscalerOptions"]["securityContext"]["capabilities"]


@mutation(LOCAL, "pods_are_restricted")
def no_seccomp_profile(documents: list[Document]) -> None:
    del one(documents, "StatefulSet")["spec"]["template"]["spec"]["securityContext"]["seccompProfile"]


@mutation(GPU, "pods_are_restricted")
def folder_of_the_host(documents: list[Document]) -> None:
    worker(documents)["volumes"][3] = {"name": "cache", "hostPath": {"path": "/mnt"}}


@mutation(GPU, "pods_are_restricted")
def network_of_the_host(documents: list[Document]) -> None:
    worker(documents)["hostNetwork"] = True


@mutation(GPU, "resources_are_bounded")
def no_limit(documents: list[Document]) -> None:
    del worker(documents)["containers"][0]["resources"]["limits"]["memory"]


@mutation(GPU, "resources_are_bounded")
def more_requested_than_allowed(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["resources"]["requests"]["cpu"] = "9000m"


@mutation(GPU, "resources_are_bounded")
def cache_larger_than_the_disk_allowed(documents: list[Document]) -> None:
    worker(documents)["volumes"][3]["emptyDir"]["sizeLimit"] = "200Gi"


@mutation(GPU, "resources_are_bounded")
def shared_memory_larger_than_memory(documents: list[Document]) -> None:
    worker(documents)["volumes"][0]["emptyDir"]["sizeLimit"] = "30Gi"


@mutation(GPU, "images_are_pinned")
def latest(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["image"] = "registry.example.com/unbraid:latest"


@mutation(LOCAL, "images_are_pinned")
def no_tag_behind_a_port(documents: list[Document]) -> None:
    one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost:5000/seaweedfs"


@mutation(GPU, "images_are_pinned")
def head_of_another_image(documents: list[Document]) -> None:
    head(documents)["containers"][0]["image"] = "registry.example.com/unbraid:0.2.0-gpu"


@mutation(GPU, "nothing_is_secret")
def key_in_the_environment(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"})


@mutation(GPU, "nothing_is_secret")
def key_in_a_map(documents: list[Document]) -> None:
    one(documents, "ConfigMap", "unbraid-storage")["data"]["AWS_ACCESS_KEY_ID"] = "x"


@mutation(GPU, "references_exist")
def map_that_is_not_there(documents: list[Document]) -> None:
    head(documents)["containers"][0]["envFrom"][0]["configMapRef"]["name"] = "storage"


@mutation(GPU, "references_exist")
def secret_that_nobody_makes(documents: list[Document]) -> None:
    head(documents)["containers"][0]["envFrom"][1]["secretRef"]["name"] = "keys"


@mutation(TRAIN, "references_exist")
def account_that_is_not_there(documents: list[Document]) -> None:
    job(documents)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["serviceAccountName"] = "head"


@mutation(GPU, "references_exist")
def class_that_is_not_there(documents: list[Document]) -> None:
    documents.remove(one(documents, "PriorityClass", "unbraid-head"))


@mutation(GPU, "references_exist")
def mount_of_no_volume(documents: list[Document]) -> None:
    worker(documents)["volumes"].pop()


@mutation(GPU, "references_exist")
def volume_without_a_mount(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["volumeMounts"].pop()


@mutation("jobs/production/train", "references_exist")
def queue_that_is_not_there(documents: list[Document]) -> None:
    one(documents, "RayJob")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"


@mutation(ALL, "references_exist")
def flavour_that_is_not_there(documents: list[Document]) -> None:
    documents.remove(one(documents, "ResourceFlavor", "unbraid-cpu"))


@mutation(ALL, "references_exist")
def redis_that_is_not_there(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["gcsFaultToleranceOptions"]["redisAddress"] = "redis://redis:6379"


@mutation(LOCAL, "references_exist")
def storage_that_is_not_there(documents: list[Document]) -> None:
    one(documents, "ConfigMap", "unbraid-storage")["data"]["AWS_ENDPOINT_URL"] = "http://s3:8333"


@mutation(GPU, "references_exist")
def role_that_is_not_there(documents: list[Document]) -> None:
    one(documents, "RoleBinding")["roleRef"]["name"] = "researcher"


@mutation(GPU, "selectors_select")
def policy_for_no_pod(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-ray")["spec"]["podSelector"]["matchLabels"] = {"app": "ray"}


@mutation(GPU, "selectors_select")
def budget_for_no_pod(documents: list[Document]) -> None:
    one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]["ray.io/cluster"] = "other"


@mutation(GPU, "selectors_select")
def nothing_denied(documents: list[Document]) -> None:
    documents.remove(one(documents, "NetworkPolicy", "unbraid-deny-all"))


@mutation(GPU, "selectors_select")
def opened_for_everybody(documents: list[Document]) -> None:
    del one(documents, "NetworkPolicy", "unbraid-operator")["spec"]["ingress"][0]["from"]


@mutation(LOCAL, "selectors_select")
def service_for_no_pod(documents: list[Document]) -> None:
    one(documents, "Service")["spec"]["selector"]["app.kubernetes.io/name"] = "s3"


@mutation(GPU, "selectors_select")
def spread_among_others(documents: list[Document]) -> None:
    worker(documents)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] = "head"


@mutation(GPU, "ports_agree")
def probe_of_a_closed_port(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["readinessProbe"]["httpGet"]["port"] = "health"


@mutation(GPU, "ports_agree")
def policy_for_a_closed_port(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-operator")["spec"]["ingress"][0]["ports"][0]["port"] = 8266


@mutation(LOCAL, "ports_agree")
def way_out_to_a_closed_port(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-s3-in-cluster")["spec"]["egress"][0]["ports"][0]["port"] = 9000


@mutation(LOCAL, "ports_agree")
def service_to_a_closed_port(documents: list[Document]) -> None:
    one(documents, "Service")["spec"]["ports"][0]["targetPort"] = "http"


@mutation(GPU, "ports_agree")
def metrics_elsewhere(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["rayStartParams"]["metrics-export-port"] = "8081"


@mutation(GPU, "ports_agree")
def dashboard_elsewhere(documents: list[Document]) -> None:
    head(documents)["containers"][0]["ports"][1]["containerPort"] = 8266


@mutation(ALL, "ports_agree")
def monitor_of_a_closed_port(documents: list[Document]) -> None:
    one(documents, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] = "prometheus"


@mutation(TRAIN, "ray_is_the_same")
def other_ray(documents: list[Document]) -> None:
    job(documents)["rayClusterSpec"]["rayVersion"] = "2.59.0"


@mutation(TRAIN, "commands_are_ours")
def preset_that_is_not_there(documents: list[Document]) -> None:
    job(documents)["entrypoint"] = job(documents)["entrypoint"].replace("infogan-mnist ", "infogan-mnits ")


@mutation(TRAIN, "commands_are_ours")
def key_that_is_not_there(documents: list[Document]) -> None:
    job(documents)["entrypoint"] += " run.wokers=2"


@mutation(TRAIN, "commands_are_ours")
def folder_of_a_pod(documents: list[Document]) -> None:
    job(documents)["entrypoint"] = job(documents)["entrypoint"].replace("s3://unbraid/runs", "runs")


@mutation("jobs/gpu/campaign", "commands_are_ours")
def campaign_that_is_not_there(documents: list[Document]) -> None:
    job(documents)["entrypoint"] = "unbraid tune nothing --storage s3://unbraid/campaigns"


@mutation(GPU, "commands_are_ours")
def nothing_saved_before_the_end(documents: list[Document]) -> None:
    del worker(documents)["containers"][0]["lifecycle"]


@mutation(GPU, "commands_are_ours")
def hook_that_the_command_line_refuses(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] = ["unbraid", "drain", "--deadline", "45"]


@mutation("overlays/gpu-spot", "commands_are_ours")
def grace_shorter_than_its_hook(documents: list[Document]) -> None:
    worker(documents)["terminationGracePeriodSeconds"] = 15


@mutation(TRAIN, "kuberay_accepts")
def name_that_is_no_label(documents: list[Document]) -> None:
    one(documents, "RayJob")["metadata"]["name"] = "Train_1"


@mutation(TRAIN, "kuberay_accepts")
def rules_and_shutdown(documents: list[Document]) -> None:
    job(documents)["shutdownAfterJobFinishes"] = True


@mutation(TRAIN, "kuberay_accepts")
def rules_out_of_order(documents: list[Document]) -> None:
    job(documents)["deletionStrategy"]["deletionRules"][0]["condition"]["ttlSeconds"] = 3600


@mutation(TRAIN, "kuberay_accepts")
def end_by_log_stream(documents: list[Document]) -> None:
    del job(documents)["submissionMode"]


@mutation(TRAIN, "kuberay_accepts")
def no_second_try(documents: list[Document]) -> None:
    job(documents)["backoffLimit"] = 0


@mutation("jobs/production/train", "kuberay_accepts")
def queued_and_scaling(documents: list[Document]) -> None:
    job(documents)["rayClusterSpec"]["enableInTreeAutoscaling"] = True


@mutation(GPU, "kuberay_accepts")
def open_to_everybody(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["authOptions"]["mode"] = "disabled"


@mutation(GPU, "kuberay_accepts")
def work_on_the_head(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"]


@mutation(GPU, "kuberay_accepts")
def fewer_than_the_fewest(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["minReplicas"] = 1


@mutation("jobs/gpu/nightly", "kuberay_accepts")
def schedule_of_six_fields(documents: list[Document]) -> None:
    one(documents, "RayCronJob")["spec"]["schedule"] = "0 0 2 * * *"


@mutation(GPU, "rights_are_few")
def wildcard(documents: list[Document]) -> None:
    one(documents, "Role")["rules"][0]["verbs"] = ["*"]


@mutation(GPU, "rights_are_few")
def token_without_need(documents: list[Document]) -> None:
    worker(documents)["automountServiceAccountToken"] = True


@mutation(GPU, "names_are_in_place")
def no_namespace(documents: list[Document]) -> None:
    del one(documents, "ServiceAccount", "unbraid-head")["metadata"]["namespace"]


@mutation(GPU, "names_are_in_place")
def namespace_that_enforces_nothing(documents: list[Document]) -> None:
    del one(documents, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]


@mutation(GPU, "files_are_the_same")
def other_preset(documents: list[Document]) -> None:
    data = one(documents, "ConfigMap", "unbraid-presets")["data"]
    data["infogan-mnist.yaml"] += "\nrun: {updates: 1}"


@mutation(ALL, "files_are_the_same")
def other_rule(documents: list[Document]) -> None:
    one(documents, "PrometheusRule")["spec"]["groups"][0]["rules"][0]["expr"] = "vector(1)"


@mutation(GPU, "logs_are_found")
def logs_elsewhere(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["headGroupSpec"]["rayStartParams"]["temp-dir"]


@mutation(GPU, "logs_are_found")
def sidecar_that_sees_nothing(documents: list[Document]) -> None:
    head(documents)["initContainers"][0]["volumeMounts"][0]["mountPath"] = "/logs"


@mutation(GPU, "gpus_are_reached")
def no_toleration(documents: list[Document]) -> None:
    del worker(documents)["tolerations"]


@mutation(LOCAL, "gpus_are_reached")
def toleration_without_need(documents: list[Document]) -> None:
    worker(documents)["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
