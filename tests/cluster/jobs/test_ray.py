"""Jobs on a real local cluster: submitted once, followed through broken connections, stopped, refused."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.cluster.test_cli import unbraid
from unbraid.cluster.jobs.ray import UNKNOWN_TIMES, RayJobServer
from unbraid.cluster.jobs.request import submission_id
from unbraid.cluster.jobs.server import Job, JobError
from unbraid.cluster.jobs.tree import zipped_tree
from unbraid.cluster.local.services import LocalServices

ROOT = Path(__file__).parents[3]
COUNTING = "import time\nfor i in range(30):\n    print('line', i, flush=True)\n    time.sleep(0.1)"


@pytest.fixture(scope="module")
def server(services: LocalServices) -> RayJobServer:
    return RayJobServer(str(services.ray_address()))


def start(server: RayJobServer, script: str, base: str | None = None) -> Job:
    base = base or f"test-{uuid.uuid4().hex[:8]}"
    return server.submit(base, ["python", "-c", script], {}, {"base": base})[0]


def ended(server: RayJobServer, job: Job) -> Job:
    until = time.monotonic() + 60
    while not (now := server.job(job.id)).is_over:
        assert time.monotonic() < until
        time.sleep(0.3)
    return now


def test_the_same_work_submitted_twice_is_one_job_and_a_failed_one_is_tried_again(server: RayJobServer) -> None:
    base = submission_id("train", "mine", uuid.uuid4().hex)
    first = start(server, COUNTING, base)
    again, is_new = server.submit(base, ["python", "-c", COUNTING], {}, {"base": base})
    assert (again.id, is_new) == (first.id, False)
    with pytest.raises(JobError, match="runs with other arguments"):
        server.submit(base, ["python", "-c", "pass"], {}, {})
    with pytest.raises(JobError, match="nothing to retry; follow it"):
        server.retry(first.id)
    assert server.stop(first.id).status == "STOPPED"
    with pytest.raises(JobError, match="has ended already: STOPPED"):
        server.stop(first.id)
    assert server.retry(first.id).id == f"{base}-2"
    server.stop(f"{base}-2")


def test_a_job_that_succeeded_is_not_retried(server: RayJobServer) -> None:
    job = ended(server, start(server, "print('done')"))
    assert job.result == 0
    with pytest.raises(JobError, match="has succeeded: there is nothing to retry"):
        server.retry(job.id)


def test_following_ends_when_another_cluster_answers_that_never_had_the_job(
    server: RayJobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.cluster.jobs.ray.PAUSES", (0.1,))
    notices: list[str] = []
    with pytest.raises(JobError, match=r"is gone, and another answers there\. The same submit again goes on"):
        server.follow("train-of-a-cluster-that-was-lost", print, notices.append)
    assert len(notices) == UNKNOWN_TIMES - 2  # the first failure is not announced


def test_following_shows_every_line_once_although_streams_end_early(
    server: RayJobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream is given up after a twentieth of a second, as when a dashboard restarts or a laptop sleeps."""
    monkeypatch.setattr("unbraid.cluster.jobs.ray.SILENCE_SECONDS", 0.05)
    shown: list[str] = []
    job = server.follow(start(server, COUNTING).id, shown.append, lambda text: None)
    lines = [line for line in "".join(shown).splitlines() if line.startswith("line ")]
    assert lines == [f"line {i}" for i in range(30)]
    assert job.status == "SUCCEEDED"


def test_the_tree_that_is_uploaded_is_what_runs_in_the_job_and_in_its_workers(
    server: RayJobServer, services: LocalServices, tmp_path: Path
) -> None:
    """And not what is installed there. The tree hides no package of others that is called ``datasets`` or ``models``."""
    tree = tmp_path / "tree"
    for package in ("unbraid", "models", "datasets", "trainers", "cluster"):
        shutil.copytree(ROOT / package, tree / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "where.py").write_text(
        "import ray, unbraid.trainers\nray.init(logging_level='ERROR')\n"
        "@ray.remote\ndef where():\n    import unbraid.trainers\n    return unbraid.trainers.__file__\n"
        "print('trainers:', unbraid.trainers.__file__, ray.get(where.remote()))\n"
        "from importlib.util import find_spec\n"
        "specs = [find_spec(name) for name in ('models', 'datasets', 'trainers', 'cluster')]\n"
        "print('hiding:', *[s.origin for s in specs if s and 'working_dir_files' in str(s.origin)])\n"
    )
    base = f"where-{uuid.uuid4().hex[:8]}"
    with zipped_tree(tree) as (environment, _):
        job, _ = server.submit(base, ["python", "where.py"], environment, {"base": base})
    assert ended(server, job).result == 0
    lines = server.logs(job.id).splitlines()
    (line,) = [line for line in lines if line.startswith("trainers:")]
    _, driver, worker = line.split()
    assert "working_dir_files" in driver
    assert worker == driver
    assert "hiding:" in lines


def test_a_failed_job_gives_its_result_and_its_own_error(server: RayJobServer) -> None:
    job = server.follow(
        start(server, "import sys; print('Error: no such thing'); sys.exit(3)").id, lambda t: None, lambda t: None
    )
    assert (job.status, job.result, job.cause) == ("FAILED", 3, "Error: no such thing")


def test_the_error_for_an_unknown_job_names_known_ones(server: RayJobServer) -> None:
    with pytest.raises(JobError, match=r"knows no job nothing; the newest:"):
        server.job("nothing")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RAY_AUTH_TOKEN": "wrong" * 12, "RAY_AUTH_TOKEN_PATH": ""}, "the cluster refuses this token"),
        ({"RAY_AUTH_MODE": "disabled"}, "the cluster wants a token"),
    ],
)
def test_a_missing_and_a_wrong_token_have_different_messages(
    server: RayJobServer, services: LocalServices, variables: dict[str, str], message: str
) -> None:
    address = server._client.get_address()
    environment = {k: v for k, v in os.environ.items() if k != "UNBRAID_LOCAL_DIR"} | {"UNBRAID_LOCAL_DIR": "/nonexistent"}
    environment |= variables
    environment = {k: v for k, v in environment.items() if v}
    command = [sys.executable, "-m", "unbraid.cluster.cli", "jobs", "list", "--address", address]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_cluster_at_the_address_is_one_error() -> None:
    result = unbraid("jobs", "list", "--address", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in result.output


def test_another_ray_version_is_refused(server: RayJobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's answer is replaced here: there is one Ray on this machine."""
    monkeypatch.setattr("unbraid.cluster.jobs.ray.ray_version_of", lambda client: "2.40.0")
    with pytest.raises(JobError, match=r"runs Ray 2\.40\.0, this is Ray"):
        RayJobServer(server.address)
