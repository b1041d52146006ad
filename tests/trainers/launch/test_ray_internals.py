"""Every private name of Ray that the project uses exists in the installed version, with the parameters that are passed."""

import ast
import inspect
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainers.launch.test_launch import wait_for
from unbraid.cluster.local.services import LocalServices
from unbraid.trainers.launch import ray_internals
from unbraid.trainers.launch.ray_internals import (
    ControlStore,
    control_store_address,
    job_server_url,
    preemption_deadline,
    ray_version_of,
    set_controller_timeouts,
    split_worker_info,
)

ROOT = Path(__file__).parents[3]
PRIVATE = ("ray.core.generated", "ray.dashboard", "ray.train.v2")
"""Modules of Ray that are no public API, although their names have no underscore."""


def test_the_job_servers_private_names_exist() -> None:
    from ray._private.runtime_env.packaging import get_uri_for_package
    from ray.dashboard.utils import ray_address_to_api_server_url
    from ray.job_submission import JobSubmissionClient

    assert list(inspect.signature(ray_address_to_api_server_url).parameters) == ["address"]
    assert list(inspect.signature(JobSubmissionClient._do_request).parameters)[:3] == ["self", "method", "endpoint"]
    assert list(inspect.signature(JobSubmissionClient._raise_error).parameters) == ["self", "r"]
    assert list(inspect.signature(get_uri_for_package).parameters) == ["package"]


def test_the_control_stores_private_names_exist() -> None:
    from ray._private import services
    from ray._raylet import InnerGcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2, gcs_pb2

    assert callable(services.canonicalize_bootstrap_address_or_die)
    assert callable(InnerGcsClient.get_all_node_info) and callable(InnerGcsClient.drain_node)  # GcsClient passes calls on
    assert isinstance(gcs_pb2.GcsNodeInfo.ALIVE, int)  # type: ignore[attr-defined]
    assert isinstance(autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, int)  # type: ignore[attr-defined]


def test_the_private_names_of_tokens_exist() -> None:
    from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled

    assert list(inspect.signature(get_auth_headers_if_auth_enabled).parameters) == ["user_headers"]


def test_the_private_names_that_keep_a_cluster_to_this_user_exist() -> None:
    from ray import init
    from ray._private import ray_constants

    assert list(ray_internals.ON_LOOPBACK) == [ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]
    assert "_temp_dir" in str(inspect.getsource(init))  # passed as **kwargs


def test_a_real_cluster_answers_by_them(services: LocalServices) -> None:
    import ray
    from ray.job_submission import JobSubmissionClient

    address = str(services.ray_address())
    assert control_store_address(address).endswith(address.partition(":")[2])
    assert ray_version_of(JobSubmissionClient(job_server_url(address))) == ray.__version__
    store = ControlStore(address)
    wait_for(lambda: len(store.living_nodes()) == 1, "the head to be among its nodes", 30)
    (head,) = store.living_nodes()
    assert (head.hostname, head.is_head) == (socket.gethostname(), True)


def test_the_environment_variables_are_those_that_ray_train_reads() -> None:
    from ray.train import constants
    from ray.train.v2._internal import constants as v2

    assert v2.WORKER_HEALTH_CHECK_TIMEOUT_S_ENV_VAR == ray_internals.WORKER_TIMEOUT
    assert v2.WORKER_GROUP_START_TIMEOUT_S_ENV_VAR == ray_internals.START_TIMEOUT
    assert v2.PREEMPTION_POLL_INTERVAL_S_ENV_VAR == ray_internals.PREEMPTION_POLL
    assert constants.TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S == ray_internals.PROCESS_GROUP_SHUTDOWN_SECONDS


@pytest.mark.parametrize(("resize", "expected"), [(None, None), (1, "10"), (25.5, "25.5"), (300, "60")])
def test_a_controller_gives_up_after_the_configured_times(
    resize: float | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ray_internals.WORKER_TIMEOUT, "0")  # so that what is set here is taken back after the test
    monkeypatch.setenv(ray_internals.PREEMPTION_POLL, "0")
    monkeypatch.setenv(ray_internals.START_TIMEOUT, "0")
    monkeypatch.delenv(ray_internals.START_TIMEOUT)
    set_controller_timeouts(8.0, resize)
    assert os.environ[ray_internals.WORKER_TIMEOUT] == "8"
    assert os.environ[ray_internals.PREEMPTION_POLL] == "1"
    assert os.environ.get(ray_internals.START_TIMEOUT) == expected


@pytest.mark.parametrize(("deadline_ms", "expected"), [(1_500_000, 1500.0), (0, math.inf), (None, math.inf)])
def test_a_preemption_is_read_from_the_workers_own_context(
    deadline_ms: int | None, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.train import PreemptionInfo
    from ray.train.v2._internal.execution import context
    from ray.train.v2._internal.execution.preemption import PreemptionContext

    preemption = PreemptionContext()

    class Context:
        preemption_context = preemption

    assert "preemption_context" in context.TrainContext.__dataclass_fields__
    monkeypatch.setattr(context, "get_train_context", Context)
    assert preemption_deadline() is None
    preemption.preemption_info = PreemptionInfo(deadline_ms=deadline_ms, preempted_node_to_ranks={"node": [0]})
    assert preemption_deadline() == expected


def test_a_workers_node_and_process_are_found_in_ray_trains_own_description() -> None:
    from ray.train.v2._internal.execution.worker_group.worker import ActorMetadata, Worker

    metadata = ActorMetadata(hostname="host", node_id="n", node_ip="10.0.0.7", pid=123, accelerator_ids={})
    worker = Worker(None, metadata, None)  # type: ignore[arg-type]  # only its description is used
    message, node, pid = split_worker_info(f"it died\nWorker info: {worker}\nsee the log")
    assert (node, pid) == ("10.0.0.7", "123")
    assert message.split() == ["it", "died", "see", "the", "log"]
    assert split_worker_info("it died") == ("it died", "", "")


@pytest.mark.parametrize("folder", ["models", "datasets", "trainers", "cluster"])
def test_no_other_file_names_private_parts_of_ray(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "ray_internals.py"
        for name in private_names(path)
    ]
    assert not found


def private_names(path: Path) -> Iterator[str]:
    """Private names of Ray that a file imports, and names of its private environment variables."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in names if is_private(name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("RAY_TRAIN_"):
            yield node.value


def is_private(name: str) -> bool:
    return name.startswith(PRIVATE) or (name.startswith("ray.") and "._" in name)
