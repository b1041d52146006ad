"""What a real API server refuses to researchers: other teams' namespaces, and jobs that are more than the templates."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.k8s.control_plane import ADMIN, ApiServer, Person, api_server, missing
from tests.k8s.privileges import PRIVILEGES, attacked, pod, train
from tests.k8s.rendering import JOBS, K8S, Document, documents, needs_kubectl

pytestmark = [needs_kubectl, pytest.mark.skipif(missing() is not None, reason=missing() or "")]
ANNA, BERND = Person("anna", ("team-a-researchers",)), Person("bernd", ("team-b-researchers",))
TEAMS = {"team-a": ANNA, "team-b": BERND}
UNCHECKED = "unchecked"
"""A namespace without the policy, where the researchers of team-a may do the same."""
TEAM = """
resources: [{platform}]
namespace: {name}
patches:
  - target: {{kind: RoleBinding, name: unbraid-researcher}}
    patch: |
      - {{op: replace, path: /subjects/0/name, value: {name}-researchers}}
"""
"""The overlay of a team, as docs/operations.md describes it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the platforms of two teams."""
    with api_server() as started:
        for name in TEAMS:
            folder = tmp_path_factory.mktemp(name)
            platform = os.path.relpath(K8S / "overlays" / "local", folder)
            (folder / "kustomization.yaml").write_text(TEAM.format(platform=platform, name=name))
            started.kubectl("apply", "-k", str(folder))
        started.kubectl("create", "namespace", UNCHECKED)
        for kind in ("role", "rolebinding"):
            copied = yaml.safe_load(started.kubectl("-n", "team-a", "get", kind, "unbraid-researcher", "-o", "yaml"))
            copied["metadata"] = {"name": copied["metadata"]["name"], "namespace": UNCHECKED}
            started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(copied))
        until = time.monotonic() + 30  # the server reads new policies after a moment
        while started.create(ANNA, attacked(PRIVILEGES["another account"]), "team-a")[0] != 422:
            assert time.monotonic() < until, "the policy has no effect"
            time.sleep(0.5)
        yield started


def of_kind(kind: str, spec: Document) -> Document:
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def adopt(server: ApiServer, overlay: str) -> None:
    """Make an overlay's RayCluster that of team-a, and wait until jobs are compared with it."""
    (cluster,) = [d for d in documents(f"overlays/{overlay}") if d["kind"] == "RayCluster"]
    cluster["metadata"]["namespace"] = "team-a"
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(cluster))


def eventually(server: ApiServer, person: Person, document: Document, namespace: str, wanted: int) -> str:
    """Create an object, again until the server has read the newest RayCluster, and return the message."""
    until = time.monotonic() + 10
    while True:
        status, message = server.create(person, document, namespace)
        if status == wanted or time.monotonic() > until:
            assert status == wanted, message
            return message
        time.sleep(0.2)


@pytest.mark.parametrize("folder", JOBS)
def test_what_the_templates_make_is_admitted(server: ApiServer, folder: str) -> None:
    adopt(server, folder.split("/")[1])
    (job,) = documents(folder)
    eventually(server, ANNA if job["kind"] == "RayJob" else ADMIN, job, "team-a", 201)
    spec = job["spec"].get("jobTemplate", job["spec"])
    eventually(server, ADMIN, of_kind("RayCluster", spec["rayClusterSpec"]), "team-a", 201)


def test_another_version_of_the_image_is_admitted_and_more_disk_in_a_new_folder(server: ApiServer) -> None:
    adopt(server, "local")
    job = train()
    for group in ("head", "worker"):
        pod(job, group)["containers"][0]["image"] = "unbraid:0.2.0-cpu"
        pod(job, group)["volumes"].append({"name": "more", "emptyDir": {"sizeLimit": "1Gi"}})
    pod(job)["initContainers"][0]["image"] = f"unbraid@sha256:{'0' * 64}"
    eventually(server, ANNA, job, "team-a", 201)


@pytest.mark.parametrize("name", PRIVILEGES)
def test_a_job_with_more_than_the_templates_is_refused(server: ApiServer, name: str) -> None:
    """The same job is admitted where no policy checks it, so it is the policy that refuses it, and not a mistake in the job."""
    job = attacked(PRIVILEGES[name])
    assert server.create(ANNA, job, UNCHECKED) == (201, "")
    assert "unbraid-jobs" in eventually(server, ANNA, job, "team-a", 422)
    nightly = of_kind("RayCronJob", {"schedule": "0 2 * * *", "jobTemplate": job["spec"]})
    assert server.create(ADMIN, nightly, "team-a")[0] == 422
    if job["spec"].get("rayClusterSpec") != train()["spec"]["rayClusterSpec"] and "rayClusterSpec" in job["spec"]:
        assert server.create(ADMIN, of_kind("RayCluster", job["spec"]["rayClusterSpec"]), "team-a")[0] == 422


def test_a_job_is_not_changed_into_one_that_would_be_refused(server: ApiServer) -> None:
    """Finalizers and the like may change after the platform has changed: a job could otherwise never be deleted."""
    adopt(server, "local")
    job = train() | {"metadata": {"name": "changed"}}
    eventually(server, ANNA, job, "team-a", 201)
    assert server.create(ANNA, job, "team-a", dry_run=False)[0] == 201
    path = "/apis/ray.io/v1/namespaces/team-a/rayjobs/changed"
    patch = [
        {"op": "replace", "path": "/spec/rayClusterSpec/headGroupSpec/template/spec/containers/0/image", "value": "evil:1"}
    ]
    assert server.ask(ANNA, "PATCH", path, patch, "json-patch+json")[0] == 422
    adopt(server, "gpu")
    eventually(server, ANNA, train(), "team-a", 422)
    finalizers = {"metadata": {"finalizers": ["example.com/x"]}}
    assert server.ask(ADMIN, "PATCH", path, finalizers, "merge-patch+json")[0] == 200
    assert server.ask(ADMIN, "PATCH", path, {"metadata": {"finalizers": None}}, "merge-patch+json")[0] == 200
    assert server.ask(ANNA, "DELETE", path)[0] == 200
    adopt(server, "local")


def test_without_a_platform_no_job_runs(server: ApiServer) -> None:
    server.kubectl("label", "namespace", UNCHECKED, "unbraid.io/jobs=checked")
    try:
        eventually(server, ANNA, train(), UNCHECKED, 422)
    finally:
        server.kubectl("label", "namespace", UNCHECKED, "unbraid.io/jobs-")
    eventually(server, ANNA, train(), UNCHECKED, 201)


def test_a_team_may_create_jobs_and_read_its_pods_and_nothing_else(server: ApiServer) -> None:
    adopt(server, "local")
    for own, person in TEAMS.items():
        eventually(server, person, train(), own, 201)
        assert server.ask(person, "GET", f"/api/v1/namespaces/{own}/pods")[0] == 200
        refused = [
            ("GET", f"/api/v1/namespaces/{own}/secrets"),
            ("GET", f"/api/v1/namespaces/{own}/secrets/unbraid-s3"),
            ("POST", f"/api/v1/namespaces/{own}/pods"),
            ("POST", f"/api/v1/namespaces/{own}/pods/x/exec"),
            ("POST", f"/api/v1/namespaces/{own}/serviceaccounts/unbraid-head/token"),
            ("POST", f"/apis/ray.io/v1/namespaces/{own}/rayclusters"),
            ("PATCH", f"/apis/ray.io/v1/namespaces/{own}/rayclusters/unbraid"),
            ("POST", f"/apis/ray.io/v1/namespaces/{own}/raycronjobs"),
            ("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{own}/rolebindings"),
            ("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/unbraid-jobs"),
        ]
        for method, path in refused:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            assert server.ask(person, method, path, {} if method != "GET" else None, kind)[0] == 403, (person, method, path)


def test_teams_share_nothing(server: ApiServer) -> None:
    """Each in its own namespace; one team sees, changes and starts nothing in the other's."""
    for other, person in (("team-b", ANNA), ("team-a", BERND)):
        for path in ("/api/v1/namespaces/{}/pods", "/api/v1/namespaces/{}/pods/x/log", "/apis/ray.io/v1/namespaces/{}/rayjobs",
                     "/api/v1/namespaces/{}/secrets", "/api/v1/namespaces/{}/configmaps", "/api/v1/namespaces/{}"):  # fmt: skip
            assert server.ask(person, "GET", path.format(other))[0] == 403, (person, path)
        assert server.create(person, train(), other)[0] == 403
        assert server.ask(person, "DELETE", f"/apis/ray.io/v1/namespaces/{other}/rayjobs/x")[0] == 403


def test_a_teams_jobs_are_compared_with_its_own_platform(server: ApiServer) -> None:
    (cluster,) = [d for d in documents("overlays/local") if d["kind"] == "RayCluster"]
    text = yaml.safe_dump(cluster).replace("unbraid:0.1.0-cpu", "registry.example.com/team-b:1")
    cluster = yaml.safe_load(text)
    cluster["metadata"]["namespace"] = "team-b"
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(cluster))
    theirs = yaml.safe_load(yaml.safe_dump(train()).replace("unbraid:0.1.0-cpu", "registry.example.com/team-b:1"))
    eventually(server, BERND, theirs, "team-b", 201)
    assert "unbraid, in any version" in eventually(server, ANNA, theirs, "team-a", 422)
    assert "registry.example.com/team-b" in eventually(server, BERND, train(), "team-b", 422)


def test_no_pod_of_another_namespace_is_let_in() -> None:
    """Network policies let in pods of their own namespace, and of the operators' named ones."""
    named = set()
    for document in documents("overlays/production"):
        if document["kind"] == "NetworkPolicy":
            for opened in document["spec"].get("ingress", []):
                for peer in opened["from"]:
                    assert set(peer) <= {"podSelector", "namespaceSelector"}, document["metadata"]["name"]
                    if "namespaceSelector" in peer:
                        named |= set(peer["namespaceSelector"]["matchLabels"].values())
    assert named <= {"kuberay-system", "monitoring"}


def test_the_overlay_of_a_team_is_the_one_in_the_docs() -> None:
    text = (Path(K8S).parent / "docs" / "operations.md").read_text()
    for line in TEAM.format(platform="../gpu", name="team-a").strip().splitlines():
        assert line in text, line
