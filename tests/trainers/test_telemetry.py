"""A run's metrics on the Prometheus endpoint of a real Ray node."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from cluster.local import LocalServices
from tests.trainers.test_launch import start, wait_for
from trainers.telemetry import metric_name


def endpoint(services: LocalServices) -> str:
    """Where the node of the local cluster exports its metrics."""
    script = "import ray; ray.init(logging_level='ERROR', log_to_driver=False); print(ray.nodes()[0]['MetricsExportPort'])"
    environment = os.environ | {"RAY_ADDRESS": str(services.ray_address())}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return f"http://127.0.0.1:{done.stdout.split()[-1]}/metrics"


def test_names_are_prometheus_names() -> None:
    assert metric_name("data/wait_seconds") == "unbraid_data_wait_seconds"
    assert metric_name("info/categorical_0_nats") == "unbraid_info_categorical_0_nats"


def test_a_running_run_is_seen_on_rays_endpoint(services: LocalServices, digits_url: str, tmp_path: Path) -> None:
    url = endpoint(services)
    process = start(digits_url, tmp_path, "metered", "run.updates=100000", "run.checkpoint_every=0")
    try:
        seen = ""

        def exported() -> bool:
            nonlocal seen
            with urllib.request.urlopen(url, timeout=10) as answer:
                seen = answer.read().decode()
            return 'run="metered"' in seen

        wait_for(exported, "the run's metrics", seconds=150)
    finally:
        process.terminate()
        process.wait(60)
    for name in ("data_wait_seconds", "data_megabytes_per_second", "data_retries", "speed_images_per_second", "loss_d"):
        assert f"ray_unbraid_{name}" in seen
