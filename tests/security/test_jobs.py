"""Jobs that strangers submitted: none is taken for one's own, and none ends a list."""

import json
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cluster.jobs.test_ray import ended
from unbraid.cluster.cli import main
from unbraid.cluster.jobs.answers import kubernetes_job, ray_job, ray_jobs
from unbraid.cluster.jobs.ray import RayJobServer
from unbraid.cluster.jobs.server import Job, JobError
from unbraid.cluster.local.services import LocalServices

SLEEP = ["python", "-c", "import time; time.sleep(60)"]
QUICK = ["python", "-c", "pass"]


@pytest.fixture(scope="module")
def server(services: LocalServices) -> RayJobServer:
    return RayJobServer(str(services.ray_address()))


@pytest.fixture
def base(server: RayJobServer) -> Iterator[str]:
    """A name of work; its jobs are stopped afterwards."""
    name = f"train-mine-{uuid.uuid4().hex[:8]}"
    yield name
    for job in server.attempts(name):
        if not job.is_over:
            server._client.stop_job(job.id)  # not waiting for its end


def zipped(folder: Path, content: str) -> dict[str, Any]:
    folder.mkdir()
    with zipfile.ZipFile(folder / "tree.zip", "w") as archive:
        archive.writestr("content.txt", content)
    return {"working_dir": str(folder / "tree.zip")}


def test_a_job_that_another_user_made_under_ones_name_is_not_ones_own(server: RayJobServer, base: str) -> None:
    server.submit(base, SLEEP, {}, {"base": base, "user": "eve", "tree": "1" * 64})
    with pytest.raises(JobError, match=rf"job {base} was submitted by eve, not by you \(ada\)"):
        server.submit(base, SLEEP, {}, {"base": base, "user": "ada", "tree": "1" * 64})


def test_a_job_of_another_tree_is_not_attached_to_and_both_are_named(server: RayJobServer, base: str) -> None:
    mine = {"base": base, "user": "ada"}
    server.submit(base, SLEEP, {}, mine | {"tree": "1" * 64})
    assert server.submit(base, SLEEP, {}, mine | {"tree": "1" * 64})[1] is False
    with pytest.raises(JobError, match=rf"another tree \(111111111111 there, 222222222222 here\).*unbraid jobs stop {base}"):
        server.submit(base, SLEEP, {}, mine | {"tree": "2" * 64})


def test_metadata_that_claim_ones_tree_and_name_are_not_believed(server: RayJobServer, base: str, tmp_path: Path) -> None:
    """What Ray unpacks is compared, not what the job says of itself."""
    claimed = {"base": base, "user": "ada", "tree": "1" * 64}
    server.submit(base, SLEEP, zipped(tmp_path / "hers", "evil"), claimed)
    with pytest.raises(JobError, match=r"another tree \(gcs://_ray_pkg_\w+\.zip there, gcs://_ray_pkg_\w+\.zip here\)"):
        server.submit(base, SLEEP, zipped(tmp_path / "mine", "good"), claimed)


def test_the_same_work_of_the_same_user_is_attached_to_until_its_tree_changes(
    server: RayJobServer, base: str, tmp_path: Path
) -> None:
    metadata = {"base": base, "user": "ada", "tree": "1" * 64}
    tree = zipped(tmp_path / "tree", "good")
    first, _ = server.submit(base, QUICK, tree, metadata)
    ended(server, first)
    assert server.submit(base, QUICK, tree, metadata) == (server.job(first.id), False)
    again, is_new = server.submit(base, QUICK, tree, metadata | {"tree": "2" * 64})
    assert (again.id, is_new) == (f"{base}-2", True)


def test_a_strangers_attempt_neither_hides_ones_own_nor_lends_it_a_tree(
    server: RayJobServer, base: str, tmp_path: Path
) -> None:
    """A later attempt of another user, and one whose number would collide."""
    mine = {"base": base, "user": "ada"}
    failed, _ = server.submit(base, ["python", "-c", "raise SystemExit(1)"], zipped(tmp_path / "mine", "good"), mine)
    assert ended(server, failed).status == "FAILED"
    client = server._client
    client.submit_job(
        entrypoint="exit 1", submission_id=f"{base}-3", runtime_env=zipped(tmp_path / "hers", "evil"), metadata={"user": "eve"}
    )
    ended(server, server.job(f"{base}-3"))
    again = server.retry(base)
    assert again.id == f"{base}-4"
    assert again.package == failed.package != server.job(f"{base}-3").package
    assert again.work.owner == "ada"


def test_a_command_with_a_password_is_not_stored_with_the_cluster(server: RayJobServer, base: str) -> None:
    """By no command, `doctor` included."""
    with pytest.raises(JobError, match=r"data\.url=s3://\*\*\*@bucket.*has a user and a password in it"):
        server.submit(base, ["true", "data.url=s3://AKIA:very-secret@bucket"], {}, {"base": base})
    assert server.attempts(base) == []
    address = server._client.get_address()
    result = CliRunner().invoke(main, ["doctor", "infogan-mnist", "data.url=s3://AKIA:very-secret@b/x", "--address", address])
    assert result.exit_code == 1, result.output
    assert "very-secret" not in result.output


HOSTILE: dict[str, dict[str, str]] = {
    "run-without-storage": {"run": "x"},
    "run-of-nowhere": {"run": "x", "storage": "gopher://x/y"},
    "run-outside": {"run": "../../../etc", "storage": "/"},
    "null-byte": {"run": "x", "storage": "/x/\0"},
    "commit-without-user": {"git_commit": "0" * 40, "git_dirty": "true"},
    "control-characters": {"user": "\x1b]0;owned\x07", "git_commit": "a\rb"},
    "forged-row": {"user": "eve\ntrain-mine-00000000  SUCCEEDED"},
    "huge": {"user": "x" * 1_000_000},
    "many": {f"key{number}": "x" for number in range(1000)},
}


def test_no_metadata_end_the_list_or_the_status(server: RayJobServer) -> None:
    names = {}
    for kind, metadata in HOSTILE.items():
        names[kind] = f"{kind}-{uuid.uuid4().hex[:8]}"
        server._client.submit_job(entrypoint="true", submission_id=names[kind], metadata=metadata)
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    names["deep"] = f"deep-{uuid.uuid4().hex[:8]}"
    content = {"entrypoint": "true", "submission_id": names["deep"], "runtime_env": {"config": deep}}
    assert server._client._do_request("POST", "/api/jobs/", json_data=content).status_code == 200
    strange = f"x\x1b[2J\ny-{uuid.uuid4().hex[:8]}"
    server._client.submit_job(entrypoint="true", submission_id=strange)
    address = server._client.get_address()
    listed = CliRunner().invoke(main, ["jobs", "list", "--address", address])
    assert listed.exit_code == 0, listed.output
    for name in names.values():
        (row,) = [line for line in listed.output.splitlines() if line.startswith(name)]
        assert "malformed: " in row or "commit-without-user" in name or "its run cannot be read: " in row
        assert len(row) < 1000
    assert "x\\x1b[2J y-" in listed.output
    assert not {"\x1b", "\r", "\x07"} & set(listed.output)
    assert not [line for line in listed.output.splitlines() if line.startswith("train-mine-00000000")]
    assert json.loads(CliRunner().invoke(main, ["jobs", "list", "--json", "--address", address]).output)
    for name in names.values():
        result = CliRunner().invoke(main, ["jobs", "status", name, "--address", address])
        assert result.exit_code == 0, (name, result.output, result.exception)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
RAY: dict[str, Any] = {
    "submission_id": "mine", "status": "RUNNING", "entrypoint": "true", "message": "m", "metadata": {"user": "ada"},
    "start_time": 1, "end_time": 2, "driver_exit_code": 0, "runtime_env": {"working_dir": "gcs://x.zip"},
}  # fmt: skip
POD = {"template": {"spec": {"containers": [{"image": "i"}], "initContainers": []}}}
KUBE: dict[str, Any] = {
    "metadata": {"name": "mine", "annotations": {"unbraid.io/user": "ada"}, "creationTimestamp": "2026-11-26T03:00:00Z"},
    "spec": {
        "entrypoint": "true", "rayClusterSpec": {"headGroupSpec": POD, "workerGroupSpecs": [POD]}, "runtimeEnvYAML": "a: 1",
    },
    "status": {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "startTime": "2026-11-26T03:00:00Z"},
}  # fmt: skip


def exchanged(document: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    return document | {path[0]: exchanged(document[path[0]], path[1:], value)}


def paths(document: Any) -> Iterator[tuple[str, ...]]:
    yield ()
    if isinstance(document, dict):
        for key, inner in document.items():
            yield from ((key, *path) for path in paths(inner))


def test_what_is_well_formed_is_read() -> None:
    for job in (ray_job(RAY), kubernetes_job(KUBE)):
        assert (job.id, job.status, job.entrypoint, job.problem) == ("mine", "RUNNING", "true", "")
        assert job.metadata == {"user": "ada"}
    assert ray_job(RAY).package == "gcs://x.zip"
    assert kubernetes_job(KUBE).package == "i; a: 1"


@given(path=st.sampled_from([path for path in paths(RAY) if path]), value=ANYTHING)
def test_any_answer_of_a_ray_cluster_is_a_job(path: tuple[str, ...], value: Any) -> None:
    require_sound(ray_job(exchanged(RAY, path, value)))


@example(path=("metadata", "name"), value="\ud7fc")
@given(path=st.sampled_from([path for path in paths(KUBE) if path]), value=ANYTHING)
def test_any_rayjob_is_a_job(path: tuple[str, ...], value: Any) -> None:
    require_sound(kubernetes_job(exchanged(KUBE, path, value)))


@given(st.lists(st.dictionaries(st.text(max_size=20), ANYTHING, max_size=4), max_size=5))
def test_a_list_of_jobs_is_split_where_its_jobs_are(records: list[dict[str, Any]]) -> None:
    found = ray_jobs(json.dumps([RAY | record | {"submission_id": f"job-{i}"} for i, record in enumerate(records)]).encode())
    assert [job.id for job in found] == [f"job-{i}" for i in range(len(records))]


def test_a_rayjob_without_a_command_is_a_job() -> None:
    """KubeRay admits such, for a person who submits by hand."""
    assert kubernetes_job(KUBE | {"spec": {"rayClusterSpec": KUBE["spec"]["rayClusterSpec"]}}).problem == ""


def require_sound(job: Job) -> None:
    assert 0 < len(job.id) <= 200
    assert job.id.isprintable()
    assert len(job.cause) <= 300
    assert all(value.isprintable() or value for value in job.metadata.values())
    assert job.started >= 0
    assert job.is_over in (True, False)
    json.dumps([job.id, job.status, job.message, job.entrypoint, dict(job.metadata), job.started, job.ended])
