"""``--kube``: creating and following RayJobs with the real kubectl, against :mod:`tests.k8s.api_server`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.k8s.api_server import ReplayedKubernetes, failure
from tests.k8s.checks import Objects, findings
from tests.k8s.rendering import K8S, ROOT, documents, needs_kubectl
from unbraid.cluster.cli import main
from unbraid.cluster.jobs import kube
from unbraid.cluster.jobs.kube import LONGEST_NAME
from unbraid.cluster.jobs.rayjob import job_name

pytestmark = needs_kubectl
TRAIN = ("train", "infogan-mnist", "data.url=s3://b/mnist", "run.storage=s3://b/runs", "run.name=mine")
CLUSTER = {"rayClusterName": "train-mine-x7k2p"}
PENDING: dict[str, Any] = {"jobDeploymentStatus": "Initializing", **CLUSTER}
RUNNING: dict[str, Any] = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", **CLUSTER}
DONE: dict[str, Any] = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", **CLUSTER}
FAILED: dict[str, Any] = {
    "jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "failed": 4, **CLUSTER,
    "message": "Job entrypoint command failed with exit code 1, last logs:\nError: data.url=s3://b/mnist: no index.json",
}  # fmt: skip
LOG = "update 10/40\nupdate 20/40\nupdate 30/40\nupdate 40/40\nreport: s3://b/runs/mine/report.png\n"


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def dry(*arguments: str) -> dict[str, Any]:
    result = command("submit", "--kube", "--dry-run", *arguments)
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = yaml.safe_load(result.output)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kube, "POLL_SECONDS", 0.05)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))  # where kubectl caches the list of a server's resources


@contextmanager
def replayed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **world: Any) -> Iterator[ReplayedKubernetes]:
    made = ReplayedKubernetes(**world)
    with made.serve(tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield made


def group(job: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    return made


@pytest.mark.parametrize("overlay", ["local", "gpu", "gpu-spot", "production"])
@pytest.mark.parametrize(
    "command",
    [
        TRAIN,
        ("tune", "infogan-mnist-weights", "--storage", "s3://b/campaigns"),
        ("data", "pack", "folder", "s3://b/raw/photos.zip", "s3://b/sets/photos", "--size", "64x64"),
    ],
    ids=lambda command: command[0],
)
def test_the_job_of_every_command_on_every_overlay_passes_all_checks(overlay: str, command: tuple[str, ...]) -> None:
    made = [dry("--overlay", overlay, "--workers", "2", *command)]
    assert findings(Objects(made, documents(f"overlays/{overlay}"))) == []


def test_the_job_has_the_workers_gpus_and_image_of_the_options() -> None:
    job = dry("--workers", "2", "--gpus-per-worker", "4", "--image", "registry.example.com/mine:1", *TRAIN)
    workers = group(job)
    assert [workers[key] for key in ("replicas", "minReplicas", "maxReplicas")] == [2, 2, 2]
    container = workers["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == container["resources"]["requests"]["nvidia.com/gpu"] == "4"
    assert container["image"] == "registry.example.com/mine:1"
    assert job["spec"]["entrypoint"].split()[-3:] == ["run.workers=8", "run.gpus=1", "data.cache=/cache"]
    assert job["metadata"]["annotations"]["unbraid.io/run"] == "mine"
    assert job["metadata"]["name"] == yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["UNBRAID_JOB"]


def test_without_options_the_command_decides_the_number_of_workers() -> None:
    job = dry(*TRAIN, "run.workers=8", "data.cache=/cache")
    assert group(job)["replicas"] == 8
    assert job["spec"]["entrypoint"].endswith("data.cache=/cache run.gpus=1")
    assert group(dry(*TRAIN))["replicas"] == 1
    small = dry("train", "infogan-mnist-small", *TRAIN[2:])  # whose preset has run.workers: 2
    assert group(small)["replicas"] == 2
    assert "run.workers" not in small["spec"]["entrypoint"]
    assert "nvidia.com/gpu" not in group(dry("--gpus-per-worker", "0", *TRAIN))["template"]["spec"].get("nodeSelector", {})


def test_job_names_are_valid_labels_and_keep_their_digest() -> None:
    assert job_name("train-My_Run.v2-1a2b3c4d") == "train-my-run-v2-1a2b3c4d"
    long = job_name("train-" + "x" * 90 + "-1a2b3c4d")
    assert len(long) == LONGEST_NAME
    assert long.endswith("-1a2b3c4d")


def test_a_job_is_followed_from_pending_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    states = [{}, PENDING, PENDING, RUNNING, RUNNING, RUNNING, DONE]
    with replayed(monkeypatch, tmp_path, states=states, log=LOG, cut_after=50) as world:
        result = command("submit", "--kube", *TRAIN)
        assert result.exit_code == 0, result.output
        (job,) = world.created
        assert job["spec"]["entrypoint"].startswith("unbraid train infogan-mnist")
        shown = [line for line in result.output.splitlines() if line.startswith(("update", "report"))]
        assert shown == LOG.splitlines()  # the stream breaks within the second line: each line is shown once
        assert "Initializing" in result.output
        assert result.output.splitlines()[-1].endswith("succeeded")


@pytest.mark.slow
def test_following_continues_after_kubernetes_was_unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    states = [{}, PENDING, RUNNING, RUNNING, RUNNING, RUNNING, DONE]
    with replayed(monkeypatch, tmp_path, states=states, log=LOG, away_after={4: 12}) as world:
        result = command("submit", "--kube", *TRAIN)
        assert result.exit_code == 0, result.output
        assert "no Kubernetes cluster answers" in result.output
        assert "the job itself is not concerned" in result.output
        assert [line for line in result.output.splitlines() if line.startswith(("update", "report"))] == LOG.splitlines()
        assert world.away == 0


def test_the_same_command_attaches_and_after_a_failure_starts_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with replayed(monkeypatch, tmp_path, states=[RUNNING], log=LOG) as world:
        assert "already" not in command("submit", "--kube", "--detach", *TRAIN).output
        assert "is RUNNING already: attaching" in command("submit", "--kube", "--detach", *TRAIN).output
        assert len(world.created) == 1
        result = command("submit", "--kube", "--detach", *TRAIN, "run.updates=7")
        assert result.exit_code == 1
        assert "runs with other arguments" in result.output
        world.states = [FAILED]
        assert command("submit", "--kube", "--detach", *TRAIN).exit_code == 0
        assert len(world.created) == 2
        assert world.deleted == [world.created[0]["metadata"]["name"]]


@pytest.mark.parametrize(
    ("state", "change", "message"),
    [
        (RUNNING, {"owner": "eve"}, "was submitted by eve, not by you"),
        (FAILED, {"owner": "eve"}, "was submitted by eve, not by you"),
        (RUNNING, {"image": "registry.example.com/evil:1"}, "runs another tree (registry.example.com/evil:1"),
        (DONE, {"image": "registry.example.com/evil:1"}, "code of registry.example.com/unbraid:"),
        (RUNNING, {"environment": "working_dir: https://example.com/evil.zip"}, "runs another tree ("),
    ],
    ids=["owner", "owner-failed", "image", "image-done", "environment"],
)
def test_a_strangers_job_of_ones_name_is_neither_followed_nor_deleted(
    state: dict[str, Any], change: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One's own job of another image is replaced once it is over."""
    with replayed(monkeypatch, tmp_path, states=[state], log=LOG) as world:
        command("submit", "--kube", "--detach", *TRAIN)
        (job,) = world.created
        if "owner" in change:
            job["metadata"]["annotations"]["unbraid.io/user"] = change["owner"]
        elif "image" in change:
            job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] = change["image"]
        else:
            job["spec"]["runtimeEnvYAML"] = change["environment"]
        result = command("submit", "--kube", "--detach", *TRAIN)
        assert message in result.output
        if state is DONE:
            assert len(world.created) == 2
        else:
            assert result.exit_code == 1
            assert world.deleted == []


def test_a_rayjob_of_another_kind_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One without a command, and one whose annotations are of nobody here."""
    with replayed(monkeypatch, tmp_path, states=[RUNNING], log=LOG) as world:
        command("submit", "--kube", "--detach", *TRAIN)
        (job,) = world.created
        for name, annotations in {"by-hand": {}, "hostile": {"unbraid.io/run": "../x", "unbraid.io/user": "a\nb"}}.items():
            spec = {key: value for key, value in job["spec"].items() if key != "entrypoint"}
            world.objects[name] = job | {"metadata": {"name": name, "annotations": annotations}, "spec": spec}
        listed = command("jobs", "list", "--kube")
        assert listed.exit_code == 0, listed.output
        assert len(listed.output.splitlines()) == 4
        (row,) = [line for line in listed.output.splitlines() if line.startswith("hostile")]
        assert "malformed: its annotations" in row


def test_a_failed_job_ends_with_its_cause_and_can_be_retried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with replayed(monkeypatch, tmp_path, states=[RUNNING, RUNNING, FAILED], log=LOG) as world:
        result = command("submit", "--kube", *TRAIN)
        name = world.created[0]["metadata"]["name"]
        assert result.exit_code == 1
        assert f"job {name} failed: Error: data.url=s3://b/mnist: no index.json" in result.output
        assert f"unbraid jobs retry --kube {name}" in result.output
        world.states = [FAILED]
        again = command("jobs", "retry", "--kube", "--detach", name)
        assert again.exit_code == 0, again.output
        assert world.created[1]["spec"] == world.created[0]["spec"]


def test_jobs_are_listed_shown_and_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with replayed(monkeypatch, tmp_path, states=[RUNNING], log=LOG) as world:
        command("submit", "--kube", "--detach", *TRAIN)
        name = world.created[0]["metadata"]["name"]
        listed = command("jobs", "list", "--kube").output
        assert name in listed
        assert "RUNNING" in listed
        assert "command: unbraid train infogan-mnist" in command("jobs", "status", "--kube", name).output
        assert command("jobs", "logs", "--kube", name).output == LOG
        stopped = command("jobs", "stop", "--kube", name)
        assert f"job {name} is stopped" in stopped.output, stopped.output
        assert world.deleted == [name]
        assert "no RayJob" in command("jobs", "status", "--kube", name).output


def test_a_retry_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    retrying = {"jobDeploymentStatus": "Retrying", "failed": 1}
    with replayed(monkeypatch, tmp_path, states=[{}, retrying, retrying, DONE], log="") as world:
        result = command("submit", "--kube", *TRAIN)
        assert "Retrying: (attempt 2 of 4)" in result.output, (result.output, world.asked)


def test_an_image_that_cannot_be_pulled_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    condition = {"type": "HeadPodReady", "status": "False", "reason": "ContainersNotReady", "message": "unready: [ray-head]"}
    state = PENDING | {"rayClusterStatus": {"conditions": [condition]}}
    waits = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.example.com/unbraid:0.1.0-gpu"'}
    with replayed(monkeypatch, tmp_path, states=[{}, state], head_waits=waits):
        result = command("submit", "--kube", *TRAIN)
        assert result.exit_code == 1
        assert "HeadPodReady" in result.output
        assert "cannot be pulled" in result.output
        assert "registry.example.com/unbraid:0.1.0-gpu" in result.output
        assert "submit with --image" in result.output


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ({"kuberay": False}, "this Kubernetes cluster has no KubeRay: install it (helm install"),
        (
            {"refuse": failure(403, "Forbidden", 'rayjobs.ray.io is forbidden: User "ada" cannot create resource "rayjobs"')},
            "you may not do that in namespace unbraid",
        ),
        ({"refuse": failure(404, "NotFound", 'namespaces "unbraid" not found')}, "kubectl apply -k k8s/overlays/gpu"),
        ({"refuse": failure(422, "Invalid", 'unknown field "spec.entrypont"')}, 'unknown field "spec.entrypont"'),
    ],
    ids=["no-kuberay", "no-right", "no-namespace", "invalid"],
)
def test_what_kubernetes_refuses_is_one_clear_error(
    world: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with replayed(monkeypatch, tmp_path, **world):
        result = command("submit", "--kube", *TRAIN)
        assert result.exit_code == 1
        assert message in result.output
        assert result.output.count("Error:") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--overlay", "gpus"), "--overlay gpus: there is none in"),
        (("--overlay", "production", "--workers", "8", "--gpus-per-worker", "4"), "want 32 GPUs; queue unbraid has at most 16"),
        (("--workers", "17"), "17 workers: overlay gpu allows 16"),
        (("--workers", "16", "--gpus-per-worker", "4"), "data.lanes=16 cannot be shared by run.workers=64"),
    ],
    ids=["overlay", "quota", "replicas", "lanes"],
)
def test_numbers_that_do_not_fit_are_refused_before_anything_is_applied(arguments: tuple[str, ...], message: str) -> None:
    result = command("submit", "--kube", *arguments, *TRAIN)
    assert result.exit_code == 1
    assert message in result.output


def test_numbers_that_contradict_each_other_are_refused() -> None:
    result = command("submit", "--kube", "--workers", "2", *TRAIN, "run.workers=3")
    assert "run.workers=3: 2 pods with 1 GPU each run 2 workers" in result.output


def test_a_file_of_this_machine_is_refused(tmp_path: Path) -> None:
    campaign = ROOT / "trainers/campaigns/infogan-mnist-weights.yaml"
    result = command("submit", "--kube", "tune", str(campaign), "--storage", "s3://b/campaigns")
    assert "is of this machine, a RayJob has what its image holds" in result.output
    photos = tmp_path / "photos.zip"
    photos.touch()
    result = command("submit", "--kube", "data", "pack", "folder", str(photos), "s3://b/sets/photos", "--size", "64x64")
    assert f"{photos}: is of this machine" in result.output


def test_a_missing_kubectl_or_cluster_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = command("submit", "--kube", *TRAIN)
    assert (result.exit_code, "no Kubernetes cluster answers" in result.output) == (1, True), result.output
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "kubectl is not on PATH" in command("submit", "--kube", "--dry-run", *TRAIN).output
    assert "kubectl is not on PATH" in command("jobs", "list", "--kube").output


@pytest.mark.parametrize("name", ["My_Run", "1st", "x" * 48, "-x"])
def test_an_invalid_job_name_is_an_error(name: str) -> None:
    result = command("jobs", "status", "--kube", "--", name)
    assert result.exit_code == 1
    assert "not a name that a RayJob can have" in result.output


def test_options_for_another_kind_of_cluster_are_refused() -> None:
    assert "are for --kube" in command("submit", "--workers", "2", *TRAIN).output
    assert "not for --kube" in command("submit", "--kube", "--address", "http://h:8265", *TRAIN).output
    assert "leave one out" in command("jobs", "list", "--kube", "--address", "http://h:8265").output


def test_these_overlays_have_jobs() -> None:
    assert sorted(path.name for path in (K8S / "jobs").iterdir()) == ["gpu", "gpu-spot", "local", "production"]
