"""A run's metrics on Ray's Prometheus endpoint."""

import re
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge


def metric_name(name: str) -> str:
    """``data/wait_seconds`` → ``unbraid_data_wait_seconds``; Ray puts ``ray_`` before it."""
    return "unbraid_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)


class RayMetrics:
    """Sets one gauge for each number of a line of metrics, ``step`` included, tagged with the run.

    Args:
        run: its name.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Show one line."""
        for name, value in line.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(metric_name(name), description=f"{name} of a run", tag_keys=("run",))
            self._gauges[name].set(float(value), tags={"run": self._run})
