"""A server that answers the real kubectl as Kubernetes' API server with KubeRay would. No Kubernetes runs here.

It serves the paths that kubectl uses for RayJobs, pods and their logs, and replays the states of a RayJob that a test gives.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Answer = tuple[int, dict[str, Any]]


@dataclass
class ReplayedKubernetes:
    """The server's content, and what it answers next.

    Attributes:
        states: the statuses of a RayJob; each request for the job gets the next one, and the last one stays.
        log: what the head's sidecar prints.
        cut_after: the first log stream that is followed ends after so many characters; None: it ends after the log.
        kuberay: whether KubeRay's resources are installed.
        refuse: the answer to every request that would change something; None: such requests succeed.
        head_waits: the waiting state of the head's container; None: it runs.
        away: how many of the next requests get no answer: their connections are closed.
        objects: the RayJobs by name.
        created: all RayJobs that were created.
        deleted: the names of all RayJobs that were deleted.
        asked: how often each RayJob has been requested.
        away_after: sets ``away``, by how often the job has been requested by then.
    """

    states: list[dict[str, Any]] = field(default_factory=list)
    log: str = ""
    cut_after: int | None = None
    kuberay: bool = True
    refuse: Answer | None = None
    head_waits: dict[str, str] | None = None
    away: int = 0
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    away_after: dict[int, int] = field(default_factory=dict)

    @contextmanager
    def serve(self, folder: Path) -> Iterator[Path]:
        """Run the server; yields the path of a kubeconfig for it."""
        handler = type("Handler", (_Handler,), {"world": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "replayed", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "tester", "user": {}}],
            "contexts": [{"name": "replayed", "context": {"cluster": "replayed", "user": "tester"}}],
            "current-context": "replayed",
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        try:
            yield path
        finally:
            server.shutdown()
            server.server_close()

    def job(self, name: str) -> dict[str, Any]:
        """A RayJob with its next status."""
        number = min(self.asked.get(name, 0), len(self.states) - 1)
        self.asked[name] = self.asked.get(name, 0) + 1
        self.away = self.away_after.pop(self.asked[name], self.away)
        return self.objects[name] | {"status": self.states[number] if self.states else {}}

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The head's pod of the cluster that a selector names; none where there is no RayJob."""
        cluster = dict(part.split("=") for part in selector.split(","))["ray.io/cluster"]
        if not self.objects:
            return []
        state: dict[str, Any] = {"running": {}} if self.head_waits is None else {"waiting": self.head_waits}
        status = {
            "phase": "Pending" if self.head_waits else "Running",
            "initContainerStatuses": [{"name": "log", "state": state}],
            "containerStatuses": [{"name": "ray-head", "state": state}],
        }
        metadata = {"name": f"{cluster}-head", "namespace": "unbraid", "labels": {"ray.io/cluster": cluster}}
        spec = {"containers": [{"name": "ray-head"}], "initContainers": [{"name": "log", "restartPolicy": "Always"}]}
        return [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}]


class _Handler(BaseHTTPRequestHandler):
    world: ReplayedKubernetes
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.world.away:
            self.world.away -= 1
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path, world = parts.path, self.world
        jobs, pods = "/apis/ray.io/v1/namespaces/unbraid/rayjobs", "/api/v1/namespaces/unbraid/pods"
        if path == "/api":
            self._answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        elif path == "/api/v1":
            self._answer(200, _resources("v1", ("pods", "Pod")))
        elif path == "/apis":
            version = {"groupVersion": "ray.io/v1", "version": "v1"}
            groups = [{"name": "ray.io", "versions": [version], "preferredVersion": version}] if world.kuberay else []
            self._answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        elif path == "/apis/ray.io/v1" and world.kuberay:
            self._answer(200, _resources("ray.io/v1", ("rayjobs", "RayJob")))
        elif path == jobs:
            items = [world.job(name) for name in world.objects]
            self._answer(200, {"apiVersion": "ray.io/v1", "kind": "RayJobList", "metadata": {}, "items": items})
        elif path.startswith(f"{jobs}/"):
            name = path.rpartition("/")[2]
            self._answer(*((200, world.job(name)) if name in world.objects else _missing(name)))
        elif path == pods:
            items = world.pods(query["labelSelector"])
            self._answer(200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})
        elif path.endswith("/log"):
            self._log(query)
        elif path.startswith(f"{pods}/"):
            name = path.rpartition("/")[2]
            found = world.pods(f"ray.io/cluster={name.removesuffix('-head')}")
            self._answer(*((200, found[0]) if found else _missing(name)))
        else:
            self._answer(*_missing(path))

    def do_POST(self) -> None:
        content = json.loads(self._body())
        if self.world.refuse is not None:
            self._answer(*self.world.refuse)
            return
        if not self.world.kuberay:
            self._answer(*failure(404, "NotFound", "the server could not find the requested resource"))
            return
        content["metadata"].setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        name = content["metadata"]["name"]
        self.world.objects[name] = content
        self.world.created.append(content)
        self.world.asked[name] = 0
        self._answer(201, content)

    def do_DELETE(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        self._body()
        if self.world.refuse is not None:
            self._answer(*self.world.refuse)
            return
        if name not in self.world.objects:
            self._answer(*_missing(name))
            return
        self.world.deleted.append(name)
        del self.world.objects[name]
        self._answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success", "details": {"name": name, "uid": "1"}})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _log(self, query: dict[str, str]) -> None:
        """Send the log, from the second that the request names; see ``cut_after`` for where a stream ends."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        world, stamped = self.world, query.get("timestamps") == "true"
        lines = []
        for number, line in enumerate(world.log.splitlines(keepends=True)):
            stamp = f"2026-11-26T03:00:{number // 3:02}.{number % 3 + 1}"  # three lines a second, no trailing zeros
            if stamp[:19] >= query.get("sinceTime", "")[:19]:
                lines.append(f"{stamp}Z {line}" if stamped else line)
        text = "".join(lines)
        if query.get("follow") == "true" and world.cut_after is not None:
            text, world.cut_after = text[: world.cut_after], None
        self.wfile.write(text.encode())
        self.wfile.flush()
        self.close_connection = True

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _resources(version: str, *kinds: tuple[str, str]) -> dict[str, Any]:
    verbs = ["get", "list", "create", "delete"]
    listed = [{"name": n, "singularName": k.lower(), "namespaced": True, "kind": k, "verbs": verbs} for n, k in kinds]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}


def _missing(name: str) -> Answer:
    return failure(404, "NotFound", f'rayjobs.ray.io "{name}" not found')


def failure(code: int, reason: str, message: str) -> Answer:
    """The answer of a request that Kubernetes refuses."""
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}
