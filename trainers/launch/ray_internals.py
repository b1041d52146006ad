"""Every private name of Ray that this project uses; a test checks that each exists in the installed version.

Ray is imported inside the functions, so importing this module costs nothing.
"""

from __future__ import annotations

import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from unbraid.datasets.untrusted.folders import own_temporary_folder, private_folder

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


WORKER_TIMEOUT = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
PREEMPTION_POLL = "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S"
"""Environment variables of Ray Train's controller; Ray passes a driver's variables of this prefix on to it."""
PROCESS_GROUP_SHUTDOWN_SECONDS = "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S"
"""Environment variable that Ray Train's controller reads each time that it ends a worker group."""
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Environment variable that says that a cluster has one node; Ray reads it when it is imported, in drivers too.

Without it, Ray takes 127.0.0.1 for this machine's address on the network, and listens on all interfaces.
"""
CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""The call of a control store that asks which of no nodes are alive."""
LONGEST_FOLDER = 43
"""Characters. A socket's path may have 107; Ray's hold a session's name and ``sockets/plasma_store`` besides, 64 characters."""

_WORKER_INFO = re.compile(r"Worker info: Worker\(.*?node_ip='(?P<ip>[^']*)',\s*pid=(?P<pid>\d+).*?\n\)", re.DOTALL)


def ray_folder(name: str) -> Path:
    """Return a folder for the files of a cluster, in a folder that only this user can enter.

    It is not Ray's default, which all users of a machine share. What Ray makes, everybody may write; whoever exchanged the tree
    of a job there would run code as this user.

    Raises:
        DataError: when somebody else holds the name of the private folder.
    """
    folder = own_temporary_folder() / name
    if len(str(folder)) <= LONGEST_FOLDER:
        return folder
    return private_folder(Path("/tmp") / f"unbraid-{os.getuid()}") / name  # noqa: S108  # TMPDIR is too long for sockets


def authorization() -> dict[str, str]:
    """Return the header by which this process shows a cluster its token; empty where Ray sends none.

    Ray reads RAY_AUTH_MODE when it is imported; a variable that is set later has no effect in this process.
    """
    from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled

    return {name.lower(): value for name, value in get_auth_headers_if_auth_enabled({}).items()}


def connection_options(address: str | None) -> dict[str, Any]:
    """Return the arguments of ``ray.init`` that join a cluster, or start one for this user.

    Args:
        address: of the cluster; None starts one.

    Raises:
        DataError: see :func:`ray_folder`.
    """
    return {"address": "local", "_temp_dir": str(ray_folder("ray"))} if address is None else {"address": address}


def job_server_url(address: str) -> str:
    """Ask a cluster for the URL of its job server.

    Args:
        address: ``HOST:PORT`` of the cluster's head.
    """
    from ray.dashboard.utils import ray_address_to_api_server_url

    return str(ray_address_to_api_server_url(address))


def ray_version_of(client: JobSubmissionClient) -> str:
    """Ask a job server for its version of Ray; the client's own ``get_version`` returns the job API's."""
    answer = client._do_request("GET", "/api/version")
    answer.raise_for_status()
    return str(answer.json()["ray_version"])


def job_details(client: JobSubmissionClient, identifier: str = "") -> bytes:
    """Ask a job server for one job, or for all, as JSON. The client's own methods give no list that has one malformed job.

    Raises:
        RuntimeError: when the server refuses, with its answer.
    """
    answer = client._do_request("GET", f"/api/jobs/{quote(identifier, safe='')}")
    if answer.status_code != 200:
        client._raise_error(answer)
    return bytes(answer.content)


def package_uri(package: Path) -> str:
    """Return the name that Ray gives a zip when it uploads it: a digest of its content."""
    from ray._private.runtime_env.packaging import get_uri_for_package

    return str(get_uri_for_package(package))


def control_store_address(named: str) -> str:
    """Resolve the address of a cluster, which may be ``auto``, to ``HOST:PORT`` of its control store (GCS)."""
    from ray._private import services

    return str(services.canonicalize_bootstrap_address_or_die(named))


@dataclass(frozen=True)
class LivingNode:
    """A node of a cluster that is alive.

    Attributes:
        id: in hexadecimal digits.
    """

    id: str
    hostname: str
    address: str
    is_head: bool


class ControlStore:
    """Client of a cluster's control store (GCS).

    Args:
        address: ``HOST:PORT``; something must listen there, or the process ends after a minute.
    """

    def __init__(self, address: str) -> None:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        self._client = GcsClient(address=address)

    def living_nodes(self) -> list[LivingNode]:
        """List the nodes that are alive."""
        from ray import NodeID
        from ray.core.generated import gcs_pb2

        alive = gcs_pb2.GcsNodeInfo.ALIVE  # type: ignore[attr-defined]
        return [
            LivingNode(NodeID(info.node_id).hex(), info.node_manager_hostname, info.node_manager_address, info.is_head_node)
            for info in self._client.get_all_node_info(timeout=10).values()
            if info.state == alive
        ]

    def drain(self, node: LivingNode, seconds: float, message: str) -> str:
        """Announce that a node will be taken away after some seconds.

        Returns:
            "" when the announcement is accepted, else why not.
        """
        from ray.core.generated import autoscaler_pb2

        reason = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION  # type: ignore[attr-defined]
        deadline = time.time_ns() // 1_000_000 + round(1000 * seconds)
        accepted, why = self._client.drain_node(node.id, reason, message, deadline)
        return "" if accepted else str(why or "no reason given")


def set_controller_timeouts(worker_timeout_seconds: float, resize_seconds: float | None) -> None:
    """Set how soon the Ray Train controllers that this process starts give up what they wait for.

    Ray Train has no public setting for these.

    Args:
        worker_timeout_seconds: a worker that has not answered for so long counts as lost.
        resize_seconds: pause between two looks for room to grow, for an elastic worker group. Ray still counts the resources of
            a node that has just gone, and waits for a group of that size; after this time, within 10 and 60 s, it counts again.
    """
    os.environ[WORKER_TIMEOUT] = f"{worker_timeout_seconds:g}"
    os.environ[PREEMPTION_POLL] = "1"
    if resize_seconds is not None:
        os.environ[START_TIMEOUT] = f"{min(max(resize_seconds, 10), 60):g}"


def preemption_deadline() -> float | None:
    """When a node of this worker's group will be taken away.

    The public ``ray.train.get_preemption_info`` is a collective of all workers, which would cost every update a round of
    messages. Its answer is in this process already.

    Returns:
        Seconds since the epoch; inf when the time is not known; None when no node will be taken away.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    info = get_train_context().preemption_context.preemption_info
    if info is None:
        return None
    return float(info.deadline_ms) / 1000 if info.deadline_ms else math.inf


def split_worker_info(message: str) -> tuple[str, str, str]:
    """Split Ray Train's description of the worker off an error's message, where it has one. Ray gives it as text only.

    Returns:
        The message without it, the address of the worker's node, and its process id; "" for both where there is none.
    """
    found = _WORKER_INFO.search(message)
    return (_WORKER_INFO.sub("", message), found["ip"], found["pid"]) if found else (message, "", "")
