"""Checks every overlay and job, as kubectl renders them, and checks the checks: each finds the mutations made for it."""

import copy

import pytest

from tests.k8s.checks import CHECKS, KUBERAY, Objects, findings
from tests.k8s.mutations import Mutation
from tests.k8s.rendering import FOLDERS, K8S, documents, existing, needs_crds, needs_kubectl
from tests.k8s.security_mutations import MUTATIONS
from unbraid.cluster.jobs.rayjob import render

pytestmark = needs_kubectl
CHANGED_BY_OPERATORS = {
    "base/kustomization.yaml": ("images:",),
    "base/namespace.yaml": ("pod-security.kubernetes.io/enforce",),
    "base/accounts.yaml": ("apiGroup: rbac.authorization.k8s.io",),
    "base/priorities.yaml": ("value:", "preemptionPolicy:"),
    "base/storage.yaml": ("AWS_DEFAULT_REGION",),
    "base/network.yaml": ("matchLabels: {kubernetes.io/metadata.name: kuberay-system}",),
    "base/cluster.yaml": (
        "rayVersion:", "enableInTreeAutoscaling:", "idleTimeoutSeconds:", "upscalingMode:", "authOptions:", "num-cpus:",
        "temp-dir:", "terminationGracePeriodSeconds:", "name: TMPDIR", "name: RAY_JOB_STOP_WAIT_TIME_S", "resources:",
        "command: [unbraid, drain", "failureThreshold:", "replicas:", "topologySpreadConstraints:", "emptyDir:", "secretRef:",
        "name: UNBRAID_PRESETS", "configMap:",
    ),
    "components/gpu/workers.yaml": ("requests:", "nvidia.com/gpu.present", "key: nvidia.com/gpu"),
    "components/spot/workers.yaml": ("value: spot", "value: 25", 'value: "20"'),
    "components/seaweedfs/server.yaml": ("resources: {requests: {storage", "image:", "env:"),
    "components/nvme/kustomization.yaml": ("storageClassName:", "resources:"),
    "components/workload-identity/kustomization.yaml": ("eks.amazonaws.com/role-arn",),
    "components/redis/redis.yaml": ("resources: {requests: {storage",),
    "components/kueue/queue/queue.yaml": ("name: nvidia.com/gpu", "preemption:", "nodeLabels:"),
    "components/monitoring/scrape.yaml": ("release:", "interval:", "matchLabels: {kubernetes.io/metadata.name: monitoring}"),
    "components/train/rayjob.yaml": (
        "name: train", "entrypoint:", "submissionMode:", "backoffLimit:", "activeDeadlineSeconds:", "deletionStrategy:",
    ),
    "components/nightly/raycronjob.yaml": ("schedule:", "suspend:", "entrypoint:", "activeDeadlineSeconds:"),
    "overlays/gpu/kustomization.yaml": ("images:",),
}  # fmt: skip
"""The fields that an operator may want to change, by file, each as the beginning of its line."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_check_finds_anything_in(folder: str) -> None:
    """Except for KubeRay's schemas, which the next test checks where its CRDs are."""
    assert findings(Objects(documents(folder), existing(folder))) == []


@needs_crds
@pytest.mark.parametrize("folder", FOLDERS)
def test_kuberays_schemas_accept(folder: str) -> None:
    assert findings(Objects(documents(folder), existing(folder)), only=KUBERAY) == []


@pytest.mark.parametrize("mutation", [pytest.param(m, id=m.name, marks=[needs_crds] * (m.check == KUBERAY)) for m in MUTATIONS])
def test_a_mutation_is_found_by_its_check(mutation: Mutation) -> None:
    broken = copy.deepcopy(documents(mutation.folder))
    mutation.apply(broken)
    assert findings(Objects(broken, existing(mutation.folder)), only=mutation.check)


def test_every_check_has_a_mutation() -> None:
    assert set(CHECKS) == {mutation.check for mutation in MUTATIONS}
    assert len(MUTATIONS) >= 30


@pytest.mark.parametrize("folder", FOLDERS)
def test_two_renders_are_the_same(folder: str) -> None:
    assert render(K8S / folder) == documents(folder)


def test_a_job_folder_applies_only_the_job() -> None:
    for folder in FOLDERS:
        if folder.startswith("jobs/"):
            assert [d["kind"] for d in documents(folder)] in (["RayJob"], ["RayCronJob"]), folder


@pytest.mark.parametrize(("file", "keys"), CHANGED_BY_OPERATORS.items())
def test_every_field_that_an_operator_may_change_has_a_comment_above_it(file: str, keys: tuple[str, ...]) -> None:
    lines = [line.strip() for line in (K8S / file).read_text().splitlines()]
    for key in keys:
        places = [number for number, line in enumerate(lines) if line.lstrip("- {").startswith(key)]
        assert places, key
        assert any(lines[number - 1].startswith("#") for number in places), key


def test_every_kustomization_begins_with_a_comment() -> None:
    for path in K8S.rglob("kustomization.yaml"):
        assert path.read_text().startswith("# "), path
