"""Every overlay and job: rendered by kubectl, held against schemas and rules; the checks themselves against broken copies."""

import copy

import pytest

from tests.k8s.mutations import Mutation
from tests.k8s.object_mutations import MUTATIONS
from tests.k8s.policies import CHECKS, KUBERAY, Scene, findings
from tests.k8s.rendering import FOLDERS, K8S, around, documents, needs_crds, needs_kubectl
from unbraid.cluster.jobs.rayjob import render

pytestmark = needs_kubectl
TOUCHED = {
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
    "components/seaweedfs/server.yaml": ("resources: {requests: {storage", "image:", "envFrom:"),
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
"""What somebody who installs this will want to change, by file; what stands before the key's name is left out."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_wrong_with(folder: str) -> None:
    """As far as KubeRay's CRDs are not needed for that."""
    assert findings(Scene(documents(folder), around(folder))) == []


@needs_crds
@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_wrong_for_kuberay_with(folder: str) -> None:
    assert findings(Scene(documents(folder), around(folder)), only=KUBERAY) == []


@pytest.mark.parametrize(
    "mutation", [pytest.param(m, id=m.name, marks=[needs_crds] * (m.finder == KUBERAY)) for m in MUTATIONS]
)
def test_what_is_broken_is_found(mutation: Mutation) -> None:
    broken = copy.deepcopy(documents(mutation.folder))
    mutation.apply(broken)
    assert findings(Scene(broken, around(mutation.folder)), only=mutation.finder)


def test_every_rule_is_broken_by_a_mutation() -> None:
    assert set(CHECKS) == {mutation.finder for mutation in MUTATIONS}
    assert len(MUTATIONS) >= 30


@pytest.mark.parametrize("folder", FOLDERS)
def test_two_renders_are_the_same(folder: str) -> None:
    assert render(K8S / folder) == documents(folder)


def test_a_job_applies_nothing_but_itself() -> None:
    for folder in FOLDERS:
        if folder.startswith("jobs/"):
            assert [d["kind"] for d in documents(folder)] in (["RayJob"], ["RayCronJob"]), folder


@pytest.mark.parametrize(("file", "keys"), TOUCHED.items())
def test_every_field_that_an_operator_touches_has_a_remark_above_it(file: str, keys: tuple[str, ...]) -> None:
    lines = [line.strip() for line in (K8S / file).read_text().splitlines()]
    for key in keys:
        places = [number for number, line in enumerate(lines) if line.lstrip("- {").startswith(key)]
        assert places, key
        assert any(lines[number - 1].startswith("#") for number in places), key


def test_every_kustomization_says_what_it_is_for() -> None:
    for path in K8S.rglob("kustomization.yaml"):
        assert path.read_text().startswith("# "), path
