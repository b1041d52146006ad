"""Pods from start to end without Kubernetes: rendered containers, hooks and probes run as processes (tests/k8s/kubelet.py)."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ray.job_submission import JobSubmissionClient

from tests.faults.hosts import network, on_hosts
from tests.faults.scenario import SETTINGS
from tests.k8s.kubelet import Kubelet, RunningPod, generated_keys
from tests.k8s.pods import PodTemplate, pods_of
from tests.k8s.rendering import ROOT, documents, needs_kubectl
from tests.trainers.launch.test_launch import wait_for
from unbraid.cluster.commands.submit import rayjob
from unbraid.cluster.jobs.rayjob import PodOptions
from unbraid.datasets.store import open_store

pytestmark = [*on_hosts(400), needs_kubectl]
UPDATES = 100_000
"""More updates than any machine makes before the pods end."""
COPY = """
import sys
from pathlib import Path
from unbraid.datasets.store import open_store
store = open_store("s3://unbraid/digits", create=True)
for path in Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        store.put_file(str(path.relative_to(sys.argv[1])), path)
"""
STATUS = """
import json
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.runs.checkpoint import Checkpoints
store = open_run("s3://unbraid/runs", "pods")
steps = [line["step"] for line in read_metrics(store) if "loss/d" in line]
saved = Checkpoints(store, 9).steps()
print("STATUS", json.dumps({"steps": steps, "status": read_run(store).get("status"), "checkpoints": saved}))
"""


@dataclass
class Deployment:
    """The pods of the overlay `local` and of a RayJob."""

    kubelet: Kubelet
    job: dict[str, Any]
    head_template: PodTemplate
    worker_template: PodTemplate
    s3: RunningPod

    def head(self) -> RunningPod:
        return self.kubelet.pod(self.head_template, "train-head-svc", self.job["spec"]["rayClusterSpec"]["headGroupSpec"])

    def worker(self) -> RunningPod:
        return self.kubelet.pod(
            self.worker_template,
            "train-worker",
            self.job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0],
            head="train-head-svc",
        )

    def submit(self, head: RunningPod, name: str) -> JobSubmissionClient:
        """Submit the RayJob's command to a head, as KubeRay's operator does in HTTPMode."""
        client = JobSubmissionClient(f"http://{head.host.address}:8265")
        spec = self.job["spec"]
        client.submit_job(entrypoint=spec["entrypoint"], submission_id=name, runtime_env=yaml.safe_load(spec["runtimeEnvYAML"]))
        return client

    def status(self, pod: RunningPod) -> dict[str, Any]:
        """The run's status, reported updates and checkpoints, read in a pod with the pod's own keys."""
        text = pod.output(pod.template.spec["containers"][0], ["python", "-c", STATUS], 60)
        line = next(line for line in text.splitlines() if line.startswith("STATUS "))
        made: dict[str, Any] = json.loads(line.removeprefix("STATUS "))
        return made


@pytest.fixture
def deployment(digits_url: str) -> Iterator[Deployment]:
    objects = documents("overlays/local")
    with tempfile.TemporaryDirectory(prefix="ub", ignore_cleanup_errors=True) as folder:
        shards = Path(folder) / "digits"
        store = open_store(digits_url)
        for key in store.keys(""):
            (shards / key).parent.mkdir(parents=True, exist_ok=True)
            (shards / key).write_bytes(store.get(key))
        command = ["train", "infogan-mnist", *SETTINGS, "data.url=s3://unbraid/digits", "run.storage=s3://unbraid/runs",
                   "run.name=pods", f"run.updates={UPDATES}", "run.checkpoint_every=1000", "run.workers=1"]  # fmt: skip
        job = rayjob(command, ROOT, "local", PodOptions(workers=1))
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text().strip()
        with network(Path(folder), {}) as net:
            kubelet = Kubelet(net, objects, {"unbraid-s3": generated_keys()}, token)
            pods = {pod.role or pod.owner["kind"]: pod for pod in [*pods_of(objects), *pods_of([job])]}
            s3 = kubelet.pod(pods["StatefulSet"], "unbraid-s3")
            made = Deployment(kubelet, job, pods["head"], pods["worker"], s3)
            yield made
            for container in Path(folder).glob("*.log"):
                sys.stderr.write(f"--- {container.name}\n{container.read_text(errors='replace')[-1500:]}\n")


def test_a_run_completes_over_the_end_of_its_worker_and_of_its_head(deployment: Deployment) -> None:
    """Pods end as Kubernetes ends them: the hook, then SIGTERM. Each time the run continues from its newest checkpoint."""
    head, worker = deployment.head(), deployment.worker()
    container = worker.template.spec["containers"][0]
    shards = str(deployment.kubelet.net.folder / "digits")
    copied = subprocess.run(
        [sys.executable, "-c", COPY, shards], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | worker.environment(container) | {"PYTHONPATH": str(ROOT), "AWS_ENDPOINT_URL": f"http://{deployment.s3.host.address}:8333"},
    )  # fmt: skip
    assert copied.returncode == 0, copied.stderr
    assert "[yours]" not in worker.output(
        container, ["unbraid", "presets"], 60
    )  # the ConfigMap is not there, and pods have started

    client = deployment.submit(head, "train-1")
    log = head.log("log")
    wait_for(lambda: printed(log) >= 20, "the sidecar to print updates", 120)
    printed_text, seconds = worker.pre_stop()
    assert "Ray knows that this node goes" in printed_text
    assert seconds < 45 + 5
    reached = deployment.status(head)["checkpoints"][-1]
    assert reached >= 20  # below run.checkpoint_every: the hook has saved it
    end(worker)
    worker = deployment.worker()
    wait_for(lambda: printed(log) >= reached + 20, "training on the worker that took its place", 120)

    printed_text, seconds = head.pre_stop()
    assert "asked for a checkpoint and an end" in printed_text
    assert seconds < 60, printed_text
    assert (
        client.get_job_status("train-1").value == "FAILED"
    )  # not STOPPED: KubeRay begins a failed job again, on a new cluster
    saved = deployment.status(worker)["checkpoints"][-1]
    assert saved >= reached + 20
    for pod in (worker, head):
        end(pod)

    deployment.kubelet.maps["unbraid-presets"] = {"mine.yaml": f"extends: infogan-mnist\nrun: {{updates: {saved + 50}}}\n"}
    head, worker = deployment.head(), deployment.worker()
    spec = deployment.job["spec"]
    spec["entrypoint"] = spec["entrypoint"].replace("train infogan-mnist", "train mine").replace(f" run.updates={UPDATES}", "")
    client = deployment.submit(head, "train-2")
    wait_for(lambda: client.get_job_status("train-2").is_terminal(), "the end", 200)
    assert client.get_job_status("train-2").value == "SUCCEEDED", client.get_job_logs("train-2")[-3000:]
    status = deployment.status(head)
    assert status["status"] == "finished"
    assert status["steps"] == list(range(1, saved + 51))


def printed(log: Path) -> int:
    """The newest update in a driver's log."""
    return max(map(int, re.findall(r"update (\d+)/", log.read_text())), default=0)


def end(pod: RunningPod) -> None:
    """Send SIGTERM to all processes of a pod, and SIGKILL after the grace period."""
    for process in pod.host.everything():
        with suppress(psutil.NoSuchProcess):  # one that ended with another
            process.terminate()
    until = time.monotonic() + 10
    while pod.host.everything() and time.monotonic() < until:
        time.sleep(0.2)
    pod.host.kill()
