"""A run's metrics on Ray's Prometheus endpoint."""

import re
import time
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge

REPORT_SECONDS = 10.0
"""Between two reports of a process to its node, Ray's ``metrics_report_interval_ms``."""


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

    def diverged(self) -> None:
        """Show that the run has, for long enough to be scraped: gauges go when their process does."""
        self({"run/diverged": 1.0})
        time.sleep(1.5 * REPORT_SECONDS)

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Show one line."""
        for name, value in line.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(metric_name(name), description=f"{name} of a run", tag_keys=("run",))
            self._gauges[name].set(float(value), tags={"run": self._run})
