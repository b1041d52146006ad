"""Alert rules and dashboard: promtool validates and unit-tests them, and Prometheus finds their metrics in real runs."""

import copy
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.launch.test_launch import ROOT, finish, start, wait_for
from unbraid.cluster.local.services import LocalServices
from unbraid.trainers.runs.telemetry import metric_name

FOLDER = ROOT / "k8s/components/monitoring"
TESTS = Path(__file__).parent / "alerts.test.yaml"
GROUPS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]
"""The rules as Prometheus reads them; its operator extracts them from the resource."""
RULES: list[dict[str, Any]] = [rule for group in GROUPS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
THRESHOLD = re.compile(r"(?:>=?|==) (\d+)")
OF_GPU_NODES = {"ray_node_gpus_utilization", "ray_node_gram_used"}
"""Metrics that Ray exports only on a machine with a GPU."""

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="needs Debian's package prometheus"
)


def named(expression: str) -> set[str]:
    """The metrics that an expression names: full names, and patterns of ``__name__``."""
    patterns = set(re.findall(r'__name__=~"([^"]+)"', expression))
    return patterns | set(re.findall(r"\bray_[a-z0-9_]+\b", re.sub(r'"[^"]*"', "", expression)))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)


def unit_tests(groups: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups))
    shutil.copyfile(TESTS, folder / TESTS.name)
    return promtool("test", "rules", folder / TESTS.name)


def test_names_are_prometheus_names() -> None:
    assert metric_name("data/wait_seconds") == "unbraid_data_wait_seconds"
    assert metric_name("info/categorical_0_nats") == "unbraid_info_categorical_0_nats"


@needs_prometheus
def test_rules_and_panels_are_valid_and_every_rule_is_tested(tmp_path: Path) -> None:
    done = unit_tests(GROUPS, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = {case["alertname"] for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]
              if case["exp_alerts"]}  # fmt: skip
    assert tested == {rule["alert"] for rule in RULES}
    shown = [{"record": f"panel:{i}", "expr": e.replace("$run", "x")} for i, e in enumerate(EXPRESSIONS)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": shown}]}))
    done = promtool("check", "rules", tmp_path / "panels.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
@pytest.mark.parametrize(
    ("alert", "threshold"), [(rule["alert"], match.span(1)) for rule in RULES for match in THRESHOLD.finditer(rule["expr"])]
)
def test_a_threshold_that_is_ten_times_as_high_fails_the_rules_test(
    alert: str, threshold: tuple[int, int], tmp_path: Path
) -> None:
    """The unit tests detect each: even a threshold of 1 is then out of reach."""
    content = copy.deepcopy(GROUPS)
    (rule,) = [rule for group in content["groups"] for rule in group["rules"] if rule["alert"] == alert]
    start, end = threshold
    rule["expr"] = f"{rule['expr'][:start]}{10 * int(rule['expr'][start:end]) + 9}{rule['expr'][end:]}"
    assert unit_tests(content, tmp_path).returncode != 0


class Prometheus:
    """Debian's Prometheus on loopback, with the project's configuration and shorter intervals."""

    def __init__(self, folder: Path, services: LocalServices) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}/api/v1"
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "2s", "evaluation_interval": "2s"}
        (folder / "rules.yaml").write_text(yaml.safe_dump(GROUPS))
        config["rule_files"] = [str(folder / "rules.yaml")]
        # not the file that Ray's heads write: clusters of other tests write it too
        targets = folder / "targets.json"
        targets.write_text(json.dumps([{"targets": [exporter(services)]}]))
        config["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(targets)]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
            )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def ready(self) -> bool:
        try:
            return bool(self.values('up{job="ray"} == 1'))
        except OSError:
            return False


@pytest.fixture
def prometheus(tmp_path: Path, services: LocalServices) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path, services)
    try:
        wait_for(server.ready, "Prometheus's first scrape", 60)
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def exporter(services: LocalServices) -> str:
    """The address at which the local cluster's node exports its metrics."""
    script = "import ray; ray.init(logging_level='ERROR', log_to_driver=False); print(ray.nodes()[0]['MetricsExportPort'])"
    environment = os.environ | {"RAY_ADDRESS": str(services.ray_address())}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return f"127.0.0.1:{done.stdout.split()[-1]}"


@pytest.mark.slow
@needs_prometheus
def test_prometheus_finds_every_metric_of_rules_and_panels_in_a_real_run_and_alerts_on_one_that_diverges(
    prometheus: Prometheus, digits_url: str, tmp_path: Path
) -> None:
    metrics = set().union(*map(named, EXPRESSIONS)) - OF_GPU_NODES
    assert len(metrics) >= 20
    settings = ("run.workers=2", "run.evaluate_every=5", "run.checkpoint_every=5")
    sound = start(digits_url, tmp_path, "sound", *settings, "run.updates=100000")
    try:
        lacking = set(metrics)

        def all_seen() -> bool:
            lacking.difference_update({m for m in lacking if prometheus.values(f'{{__name__=~"{m}"}}')})
            return not lacking and bool(prometheus.values('ray_unbraid_data_wait_percent{run="sound",rank="1"}'))

        wait_for(lambda: all_seen() or sound.poll() is not None, f"seeing {lacking}", 150)
        assert not lacking
        assert prometheus.values('ray_unbraid_data_wait_percent{run="sound",rank="1"}')
    finally:
        sound.terminate()
        finish(sound)
    code, text = finish(start(digits_url, tmp_path, "broken", "run.workers=1", "run.updates=50", "optim.lr_generator=1e30"))
    assert code != 0 and "is not finite" in text

    def fired() -> set[tuple[str, str]]:
        alerts = prometheus.get("alerts")["alerts"]
        return {(alert["labels"]["alertname"], alert["labels"]["run"]) for alert in alerts if alert["state"] == "firing"}

    wait_for(lambda: ("UnbraidDiverged", "broken") in fired(), "the alert", 30)
    assert fired() == {("UnbraidDiverged", "broken")}
    assert {rule["health"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]} == {"ok"}
