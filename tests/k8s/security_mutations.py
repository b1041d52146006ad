"""Mutations of rendered objects, part three: what an intruder would like. Import ``MUTATIONS`` from here to get all."""

from __future__ import annotations

from typing import Any

from tests.k8s import object_mutations
from tests.k8s.mutations import GPU, LOCAL, MUTATIONS, TRAIN, head, job, mutation, one, worker
from tests.k8s.rendering import Document

__all__ = ["MUTATIONS", "object_mutations"]
BINDING, POLICY = "ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"


@mutation(GPU, "only_the_autoscaler_has_a_token")
def token_of_kubernetes_in_a_worker(documents: list[Document]) -> None:
    worker(documents)["automountServiceAccountToken"] = True


@mutation(GPU, "only_the_autoscaler_has_a_token")
def token_in_the_drivers_container(documents: list[Document]) -> None:
    head(documents)["containers"][0]["volumeMounts"].append({"name": "kubernetes-token", "mountPath": "/token"})


@mutation(GPU, "only_the_autoscaler_has_a_token")
def processes_that_see_each_other(documents: list[Document]) -> None:
    head(documents)["shareProcessNamespace"] = True


@mutation(GPU, "only_the_autoscaler_has_a_token")
def autoscaler_without_a_token(documents: list[Document]) -> None:
    del one(documents, "RayCluster")["spec"]["autoscalerOptions"]["volumeMounts"]


@mutation(TRAIN, "only_the_autoscaler_has_a_token")
def token_in_a_job(documents: list[Document]) -> None:
    volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    job(documents)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"].append(volume)


@mutation(GPU, "jobs_are_checked")
def namespace_without_the_policys_label(documents: list[Document]) -> None:
    del one(documents, "Namespace")["metadata"]["labels"]["unbraid.io/jobs"]


@mutation(GPU, "jobs_are_checked")
def no_policy(documents: list[Document]) -> None:
    documents.remove(one(documents, POLICY))


@mutation(GPU, "jobs_are_checked")
def policy_that_only_warns(documents: list[Document]) -> None:
    one(documents, BINDING)["spec"]["validationActions"] = ["Warn"]


@mutation(GPU, "jobs_are_checked")
def policy_that_lets_pass_what_it_cannot_check(documents: list[Document]) -> None:
    one(documents, POLICY)["spec"]["failurePolicy"] = "Ignore"


@mutation(GPU, "jobs_are_checked")
def jobs_compared_with_a_cluster_that_is_not_there(documents: list[Document]) -> None:
    one(documents, BINDING)["spec"]["paramRef"]["name"] = "other"


@mutation(GPU, "jobs_are_checked")
def jobs_without_a_cluster_are_let_pass(documents: list[Document]) -> None:
    one(documents, BINDING)["spec"]["paramRef"]["parameterNotFoundAction"] = "Allow"


@mutation(GPU, "jobs_are_checked")
def jobs_compared_with_another_teams_cluster(documents: list[Document]) -> None:
    one(documents, BINDING)["spec"]["paramRef"]["namespace"] = "unbraid"


@mutation(GPU, "jobs_are_checked")
def jobs_of_the_night_are_not_checked(documents: list[Document]) -> None:
    one(documents, POLICY)["spec"]["matchConstraints"]["resourceRules"][0]["resources"].remove("raycronjobs")


@mutation(GPU, "researchers_create_jobs_only")
def researchers_who_create_pods(documents: list[Document]) -> None:
    one(documents, "Role")["rules"][1]["verbs"].append("create")


@mutation(GPU, "researchers_create_jobs_only")
def researchers_who_create_clusters(documents: list[Document]) -> None:
    one(documents, "Role")["rules"][0]["resources"].append("rayclusters")


def s3_server(documents: list[Document]) -> Any:
    return one(documents, "StatefulSet", "unbraid-s3")["spec"]["template"]["spec"]


@mutation(LOCAL, "s3_server_is_closed")
def filer_that_serves_http(documents: list[Document]) -> None:
    s3_server(documents)["containers"][0]["args"].remove("-disableHttp")


@mutation(LOCAL, "s3_server_is_closed")
def server_without_certificates(documents: list[Document]) -> None:
    del s3_server(documents)["initContainers"]


@mutation(LOCAL, "s3_server_is_closed")
def server_that_does_not_read_its_certificates(documents: list[Document]) -> None:
    s3_server(documents)["containers"][0]["args"].remove("-config_dir=/security")


@mutation(LOCAL, "s3_server_is_closed")
def certificates_on_a_disk(documents: list[Document]) -> None:
    del s3_server(documents)["volumes"][0]["emptyDir"]["medium"]


@mutation(LOCAL, "s3_server_is_closed")
def server_that_starts_without_a_secret_key(documents: list[Document]) -> None:
    s3_server(documents)["initContainers"][0]["env"][1]["valueFrom"]["secretKeyRef"]["optional"] = True


@mutation(LOCAL, "s3_server_is_closed")
def server_that_knows_one_key_only(documents: list[Document]) -> None:
    s3_server(documents)["initContainers"][0]["env"].pop(0)


@mutation(LOCAL, "s3_server_is_closed")
def keys_in_the_servers_environment(documents: list[Document]) -> None:
    s3_server(documents)["containers"][0]["envFrom"] = [{"secretRef": {"name": "unbraid-s3"}}]
