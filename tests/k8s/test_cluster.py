"""Who has what in real pods: needs a cluster with nodes, KubeRay and the images (``UNBRAID_KUBECONFIG``); minutes."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.control_plane import KUBECONFIG
from tests.k8s.kubelet import generated_keys
from tests.k8s.rendering import K8S, needs_kubectl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_kubectl]
NAMESPACE = "unbraid"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105
WANT_A_WORKER = "import ray; ray.init('auto'); from ray.autoscaler.sdk import request_resources; request_resources(num_cpus=1)"


def kubectl(*arguments: str, check: bool = True) -> str:
    command = ["kubectl", "--kubeconfig", KUBECONFIG, "-n", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout if done.returncode == 0 else done.stderr


def pods(selector: str) -> list[Any]:
    found: list[Any] = json.loads(kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: {kubectl('get', 'pods')}"
        time.sleep(2)


@pytest.fixture(scope="module", autouse=True)
def platform() -> Iterator[None]:
    if not KUBECONFIG or "Ready" not in kubectl("get", "nodes", check=False):
        pytest.skip("no Kubernetes with nodes: UNBRAID_KUBECONFIG names its kubeconfig")
    kubectl("apply", "-k", str(K8S / "overlays" / "local"))
    yield
    kubectl("delete", "-k", str(K8S / "overlays" / "local"), "--wait=false")


def test_the_s3_server_waits_for_both_keys(tmp_path: Path) -> None:
    keys = generated_keys()
    literals = [f"--from-literal={name}={value}" for name, value in keys.items()]
    kubectl("create", "secret", "generic", "unbraid-s3", literals[0])

    def reason() -> str:
        states = [s for pod in pods("app.kubernetes.io/name=seaweedfs") for s in pod["status"].get("initContainerStatuses", [])]
        return str(states[0]["state"].get("waiting", {}).get("reason", "")) if states else ""

    wait_for(lambda: reason() == "CreateContainerConfigError", "the S3 server's pod to be refused", 120)
    kubectl("delete", "secret", "unbraid-s3")
    kubectl("create", "secret", "generic", "unbraid-s3", *literals)
    kubectl("rollout", "status", "statefulset/unbraid-s3", "--timeout=180s")


def test_only_the_autoscalers_container_has_a_token_and_it_can_add_a_worker() -> None:
    head = "ray.io/cluster=unbraid,ray.io/node-type=head"
    wait_for(lambda: pods(head) and all(c["ready"] for c in pods(head)[0]["status"]["containerStatuses"]), "the head", 400)
    name = pods(head)[0]["metadata"]["name"]
    for container in ("ray-head", "log"):
        assert "No such file" in kubectl("exec", name, "-c", container, "--", "ls", TOKEN, check=False)
    assert kubectl("exec", name, "-c", "autoscaler", "--", "cat", TOKEN).count(".") == 2
    kubectl("exec", name, "-c", "ray-head", "--", "python", "-c", WANT_A_WORKER)
    wait_for(lambda: pods("ray.io/cluster=unbraid,ray.io/node-type=worker"), "the autoscaler to ask for a worker", 180)
