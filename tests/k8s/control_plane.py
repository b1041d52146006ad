"""A real API server of Kubernetes for the tests of what it refuses: roles, admission, definitions. Pods need not run.

``UNBRAID_KUBECONFIG`` names the kubeconfig of an administrator of a cluster that tests may change, such as one of kind.
Without it, ``UNBRAID_KUBE`` names a program that starts etcd and an API server (``up --control-plane``, which prints the
kubeconfig's path) and ends them (``down``).
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.k8s.rendering import CRDS, ROOT, Document

KUBECONFIG = os.environ.get("UNBRAID_KUBECONFIG", "")
PROGRAM = Path(os.environ.get("UNBRAID_KUBE", ROOT.parent / "shared" / "kube" / "cluster"))
KINDS = {"RayJob": "rayjobs", "RayCronJob": "raycronjobs", "RayCluster": "rayclusters"}


def missing() -> str | None:
    """What these tests lack here; None where they can run."""
    if not KUBECONFIG and not PROGRAM.is_file():
        return "no Kubernetes API server: UNBRAID_KUBECONFIG or UNBRAID_KUBE names one (tests/k8s/control_plane.py)"
    return None if CRDS.is_dir() else f"KubeRay's CRDs are not in {CRDS}: set UNBRAID_KUBERAY_CRDS"


@dataclass(frozen=True)
class Person:
    """Whom the API server takes a request to come from."""

    name: str
    groups: tuple[str, ...] = ()


ADMIN = Person("admin", ("system:masters",))


@dataclass(frozen=True)
class ApiServer:
    """An API server, and an administrator's proxy to it, who may speak for others.

    Attributes:
        kubeconfig: of the administrator.
        url: of the proxy.
    """

    kubeconfig: Path
    url: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator, and return what it prints.

        Raises:
            AssertionError: when it fails.
        """
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(
        self, person: Person, method: str, path: str, content: Any = None, kind: str = "json"
    ) -> tuple[int, dict[str, Any]]:
        """Send a request for a person.

        Returns:
            The HTTP status, and the answer.
        """
        headers = [("Impersonate-User", person.name), *(("Impersonate-Group", group) for group in person.groups)]
        assert len(person.groups) <= 1  # urllib sends a header once
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=dict(headers))
        if content is not None:
            request.add_header("Content-Type", f"application/{kind}")
            request.data = json.dumps(content).encode()
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            return error.code, json.loads(text) if text.startswith("{") else {"message": text}

    def create(self, person: Person, document: Document, namespace: str, dry_run: bool = True) -> tuple[int, str]:
        """Create an object of KubeRay in a namespace.

        Returns:
            The HTTP status, and the message of a refusal.
        """
        path = f"/apis/ray.io/v1/namespaces/{namespace}/{KINDS[document['kind']]}{'?dryRun=All' if dry_run else ''}"
        placed = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
        status, answer = self.ask(person, "POST", path, placed)
        return status, str(answer.get("message", ""))


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Start an API server with KubeRay's definitions, or use the one that is named."""
    kubeconfig = Path(KUBECONFIG) if KUBECONFIG else _started()
    proxy = subprocess.Popen(
        ["kubectl", "--kubeconfig", str(kubeconfig), "proxy", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert proxy.stdout is not None
        server = ApiServer(kubeconfig, f"http://{proxy.stdout.readline().split()[-1]}")
        server.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
        server.kubectl(
            "wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{kind}.ray.io" for kind in KINDS.values())
        )
        yield server
    finally:
        proxy.terminate()
        proxy.wait(10)
        if not KUBECONFIG:
            subprocess.run([str(PROGRAM), "down"], check=True, capture_output=True)


def _started() -> Path:
    done = subprocess.run([str(PROGRAM), "up", "--control-plane"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])
