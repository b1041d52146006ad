"""Broken copies for the rules about how objects go together, and about Ray; with these all of them are there."""

from __future__ import annotations

from tests.k8s.mutations import ALL, GPU, LOCAL, MUTATIONS, TRAIN, head, job, mutation, one, worker
from tests.k8s.rendering import Document

__all__ = ["MUTATIONS"]


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


@mutation(GPU, "own_presets_are_read")
def presets_that_pods_wait_for(documents: list[Document]) -> None:
    worker(documents)["volumes"][-1]["configMap"]["optional"] = False


@mutation(TRAIN, "own_presets_are_read")
def presets_of_another_map(documents: list[Document]) -> None:
    pod = job(documents)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    pod["volumes"][-1]["configMap"]["name"] = "presets"


@mutation(GPU, "own_presets_are_read")
def presets_over_those_of_the_image(documents: list[Document]) -> None:
    head(documents)["containers"][0]["volumeMounts"][-1]["mountPath"] = "/home/ray/unbraid/trainers/presets"


@mutation("overlays/debug", "own_presets_are_read")
def presets_that_no_variable_names(documents: list[Document]) -> None:
    container = one(documents, "Pod")["spec"]["containers"][0]
    container["env"] = [variable for variable in container["env"] if variable["name"] != "UNBRAID_PRESETS"]


@mutation(LOCAL, "own_presets_are_read")
def presets_of_users_overwritten(documents: list[Document]) -> None:
    metadata = {"name": "unbraid-presets", "namespace": "unbraid"}
    documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"infogan-mnist.yaml": ""}})


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
