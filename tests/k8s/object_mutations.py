"""Mutations of rendered objects, part two: how objects fit together, and Ray."""

from __future__ import annotations

from tests.k8s.mutations import ALL, GPU, LOCAL, TRAIN, head, job, mutation, one, worker
from tests.k8s.rendering import Document


@mutation(GPU, "references_exist")
def missing_config_map(documents: list[Document]) -> None:
    head(documents)["containers"][0]["envFrom"][0]["configMapRef"]["name"] = "storage"


@mutation(GPU, "references_exist")
def unknown_secret(documents: list[Document]) -> None:
    head(documents)["containers"][0]["envFrom"][1]["secretRef"]["name"] = "keys"


@mutation(TRAIN, "references_exist")
def missing_service_account(documents: list[Document]) -> None:
    job(documents)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["serviceAccountName"] = "head"


@mutation(GPU, "references_exist")
def missing_priority_class(documents: list[Document]) -> None:
    documents.remove(one(documents, "PriorityClass", "unbraid-head"))


@mutation(GPU, "references_exist")
def mount_without_a_volume(documents: list[Document]) -> None:
    worker(documents)["volumes"].pop()


@mutation(GPU, "references_exist")
def volume_without_a_mount(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["volumeMounts"].pop()


@mutation("jobs/production/train", "references_exist")
def missing_local_queue(documents: list[Document]) -> None:
    one(documents, "RayJob")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"


@mutation(ALL, "references_exist")
def missing_resource_flavor(documents: list[Document]) -> None:
    documents.remove(one(documents, "ResourceFlavor", "unbraid-cpu"))


@mutation(ALL, "references_exist")
def missing_redis_service(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["gcsFaultToleranceOptions"]["redisAddress"] = "redis://redis:6379"


@mutation(LOCAL, "references_exist")
def missing_storage_service(documents: list[Document]) -> None:
    one(documents, "ConfigMap", "unbraid-storage")["data"]["AWS_ENDPOINT_URL"] = "http://s3:8333"


@mutation(GPU, "references_exist")
def missing_role(documents: list[Document]) -> None:
    one(documents, "RoleBinding")["roleRef"]["name"] = "researcher"


@mutation(GPU, "selectors_match_pods")
def policy_that_matches_no_pod(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-ray")["spec"]["podSelector"]["matchLabels"] = {"app": "ray"}


@mutation(GPU, "selectors_match_pods")
def budget_that_matches_no_pod(documents: list[Document]) -> None:
    one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]["ray.io/cluster"] = "other"


@mutation(GPU, "selectors_match_pods")
def no_policy_that_denies(documents: list[Document]) -> None:
    documents.remove(one(documents, "NetworkPolicy", "unbraid-deny-all"))


@mutation(GPU, "selectors_match_pods")
def ingress_from_everybody(documents: list[Document]) -> None:
    del one(documents, "NetworkPolicy", "unbraid-operator")["spec"]["ingress"][0]["from"]


@mutation(LOCAL, "selectors_match_pods")
def service_that_matches_no_pod(documents: list[Document]) -> None:
    one(documents, "Service")["spec"]["selector"]["app.kubernetes.io/name"] = "s3"


@mutation(GPU, "selectors_match_pods")
def spread_over_other_pods(documents: list[Document]) -> None:
    worker(documents)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] = "head"


@mutation(GPU, "ports_agree")
def probe_of_a_closed_port(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["readinessProbe"]["httpGet"]["port"] = "health"


@mutation(GPU, "ports_agree")
def policy_for_a_closed_port(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-operator")["spec"]["ingress"][0]["ports"][0]["port"] = 8266


@mutation(LOCAL, "ports_agree")
def egress_to_a_closed_port(documents: list[Document]) -> None:
    one(documents, "NetworkPolicy", "unbraid-s3-in-cluster")["spec"]["egress"][0]["ports"][0]["port"] = 9000


@mutation(LOCAL, "ports_agree")
def service_to_a_closed_port(documents: list[Document]) -> None:
    one(documents, "Service")["spec"]["ports"][0]["targetPort"] = "http"


@mutation(GPU, "ports_agree")
def metrics_on_another_port(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["rayStartParams"]["metrics-export-port"] = "8081"


@mutation(GPU, "ports_agree")
def dashboard_on_another_port(documents: list[Document]) -> None:
    head(documents)["containers"][0]["ports"][1]["containerPort"] = 8266


@mutation(ALL, "ports_agree")
def monitor_of_a_closed_port(documents: list[Document]) -> None:
    one(documents, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] = "prometheus"


@mutation(TRAIN, "ray_versions_agree")
def another_version_of_ray(documents: list[Document]) -> None:
    job(documents)["rayClusterSpec"]["rayVersion"] = "2.59.0"


@mutation(TRAIN, "commands_are_valid")
def unknown_preset(documents: list[Document]) -> None:
    job(documents)["entrypoint"] = job(documents)["entrypoint"].replace("infogan-mnist ", "infogan-mnits ")


@mutation(TRAIN, "commands_are_valid")
def unknown_key(documents: list[Document]) -> None:
    job(documents)["entrypoint"] += " run.wokers=2"


@mutation(TRAIN, "commands_are_valid")
def storage_in_a_folder_of_the_pod(documents: list[Document]) -> None:
    job(documents)["entrypoint"] = job(documents)["entrypoint"].replace("s3://unbraid/runs", "runs")


@mutation("jobs/gpu/campaign", "commands_are_valid")
def unknown_campaign(documents: list[Document]) -> None:
    job(documents)["entrypoint"] = "unbraid tune nothing --storage s3://unbraid/campaigns"


@mutation(GPU, "commands_are_valid")
def no_pre_stop_hook(documents: list[Document]) -> None:
    del worker(documents)["containers"][0]["lifecycle"]


@mutation(GPU, "commands_are_valid")
def hook_with_an_unknown_option(documents: list[Document]) -> None:
    worker(documents)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] = ["unbraid", "drain", "--deadline", "45"]


@mutation("overlays/gpu-spot", "commands_are_valid")
def grace_period_shorter_than_the_hook(documents: list[Document]) -> None:
    worker(documents)["terminationGracePeriodSeconds"] = 15


@mutation(TRAIN, "kuberay_operator_accepts")
def name_that_is_not_a_label(documents: list[Document]) -> None:
    one(documents, "RayJob")["metadata"]["name"] = "Train_1"


@mutation(TRAIN, "kuberay_operator_accepts")
def deletion_rules_and_shutdown(documents: list[Document]) -> None:
    job(documents)["shutdownAfterJobFinishes"] = True


@mutation(TRAIN, "kuberay_operator_accepts")
def deletion_rules_out_of_order(documents: list[Document]) -> None:
    job(documents)["deletionStrategy"]["deletionRules"][0]["condition"]["ttlSeconds"] = 3600


@mutation(TRAIN, "kuberay_operator_accepts")
def no_submission_mode(documents: list[Document]) -> None:
    del job(documents)["submissionMode"]


@mutation(TRAIN, "kuberay_operator_accepts")
def no_retries(documents: list[Document]) -> None:
    job(documents)["backoffLimit"] = 0


@mutation("jobs/production/train", "kuberay_operator_accepts")
def queued_job_with_autoscaling(documents: list[Document]) -> None:
    job(documents)["rayClusterSpec"]["enableInTreeAutoscaling"] = True


@mutation(GPU, "kuberay_operator_accepts")
def no_authentication(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["authOptions"]["mode"] = "disabled"


@mutation(GPU, "kuberay_operator_accepts")
def work_on_the_head(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"]


@mutation(GPU, "kuberay_operator_accepts")
def fewer_replicas_than_the_minimum(documents: list[Document]) -> None:
    one(documents, "RayCluster")["spec"]["workerGroupSpecs"][0]["minReplicas"] = 1


@mutation("jobs/gpu/nightly", "kuberay_operator_accepts")
def schedule_of_six_fields(documents: list[Document]) -> None:
    one(documents, "RayCronJob")["spec"]["schedule"] = "0 0 2 * * *"


@mutation(GPU, "permissions_are_minimal")
def wildcard_in_a_role(documents: list[Document]) -> None:
    one(documents, "Role")["rules"][0]["verbs"] = ["*"]


@mutation(GPU, "namespaces_are_right")
def no_namespace(documents: list[Document]) -> None:
    del one(documents, "ServiceAccount", "unbraid-head")["metadata"]["namespace"]


@mutation(GPU, "namespaces_are_right")
def namespace_without_pod_security(documents: list[Document]) -> None:
    del one(documents, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]


@mutation(GPU, "own_presets_are_read")
def presets_that_are_not_optional(documents: list[Document]) -> None:
    worker(documents)["volumes"][-1]["configMap"]["optional"] = False


@mutation(TRAIN, "own_presets_are_read")
def presets_from_another_config_map(documents: list[Document]) -> None:
    pod = job(documents)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    pod["volumes"][-1]["configMap"]["name"] = "presets"


@mutation(GPU, "own_presets_are_read")
def presets_mounted_over_those_of_the_image(documents: list[Document]) -> None:
    head(documents)["containers"][0]["volumeMounts"][-1]["mountPath"] = "/home/ray/unbraid/trainers/presets"


@mutation("overlays/debug", "own_presets_are_read")
def presets_without_the_variable(documents: list[Document]) -> None:
    container = one(documents, "Pod")["spec"]["containers"][0]
    container["env"] = [variable for variable in container["env"] if variable["name"] != "UNBRAID_PRESETS"]


@mutation(LOCAL, "own_presets_are_read")
def presets_applied_over_the_users(documents: list[Document]) -> None:
    metadata = {"name": "unbraid-presets", "namespace": "unbraid"}
    documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"infogan-mnist.yaml": ""}})


@mutation(ALL, "files_are_the_tested_ones")
def another_alert_rule(documents: list[Document]) -> None:
    one(documents, "PrometheusRule")["spec"]["groups"][0]["rules"][0]["expr"] = "vector(1)"


@mutation(GPU, "logs_are_readable")
def no_folder_for_logs(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["headGroupSpec"]["rayStartParams"]["temp-dir"]


@mutation(GPU, "logs_are_readable")
def sidecar_without_the_logs(documents: list[Document]) -> None:
    head(documents)["initContainers"][0]["volumeMounts"][0]["mountPath"] = "/logs"


@mutation(GPU, "gpu_pods_go_to_gpu_nodes")
def gpu_pod_without_a_toleration(documents: list[Document]) -> None:
    del worker(documents)["tolerations"]


@mutation(LOCAL, "gpu_pods_go_to_gpu_nodes")
def toleration_without_a_gpu(documents: list[Document]) -> None:
    worker(documents)["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
