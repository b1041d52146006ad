"""A run's metrics on Ray's Prometheus endpoint.

docs/cluster.md lists them; k8s/components/monitoring has the dashboard and the alerts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, Self

from ray.util.metrics import Gauge

from unbraid.datasets.threads import WatchedThread

KEEP_SECONDS = 5.0
"""Pause after which all gauges are set again: Ray drops a gauge that was not set for 20 s, and a slow run logs less often."""


def metric_name(name: str) -> str:
    """``data/wait_seconds`` → ``unbraid_data_wait_seconds``; Ray puts ``ray_`` before it."""
    return "unbraid_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)


class RayMetrics:
    """One gauge for each number of a line of metrics, ``step`` included, tagged with the run and the rank.

    Values are exported until the block ends, and by Ray for 20 s more.

    Args:
        run: name of the run.
        rank: of this worker; None for the run's driver.
    """

    def __init__(self, run: str, rank: int | None = None) -> None:
        self._tags = {"run": run, "rank": "" if rank is None else str(rank)}
        self._gauges: dict[str, Gauge] = {}
        self._values: dict[str, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._keeper = WatchedThread(self._keep, "keep-metrics")

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Export the numbers of one line."""
        with self._lock:
            self._values |= {name: float(value) for name, value in line.items()}
            self._set()

    def _keep(self) -> None:
        while not self._ended.wait(KEEP_SECONDS):
            with self._lock:
                self._set()

    def _set(self) -> None:
        for name, value in self._values.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(metric_name(name), f"{name} of a run", tag_keys=tuple(self._tags))
            self._gauges[name].set(value, tags=self._tags)
