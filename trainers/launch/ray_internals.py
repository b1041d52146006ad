"""Every private name of Ray that this project uses; a test sees that each exists in the installed version.

Ray is imported inside the functions: importing this module costs nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


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
