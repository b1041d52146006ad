"""The Ray head of the local services."""

from __future__ import annotations

import sys
from pathlib import Path

from unbraid.cluster.local.ports import LOOPBACK


def head_command(folder: Path, port: int, client: int, dashboard: int, agent: int) -> list[str]:
    """Return the command of a head.

    Args:
        folder: for its files, from :func:`unbraid.trainers.launch.ray_internals.ray_folder`.
        port: of the control store.
        client, dashboard, agent: the ports of Ray Client, of the job server, and of the node's own job server.
    """
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--node-ip-address={LOOPBACK}",
        f"--port={port}", f"--ray-client-server-port={client}", f"--dashboard-host={LOOPBACK}",
        f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats",
        f"--temp-dir={folder}",
    ]  # fmt: skip
