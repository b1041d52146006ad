"""Every private name of Ray that the project uses exists in the installed version, with the parameters that are passed."""

import ast
import inspect
import socket
from pathlib import Path

import pytest

from tests.trainers.launch.test_launch import wait_for
from unbraid.cluster.local.services import LocalServices
from unbraid.trainers.launch.ray_internals import ControlStore, control_store_address, job_server_url, ray_version_of

ROOT = Path(__file__).parents[3]
PRIVATE = ("ray._private", "ray._raylet", "ray.core.generated", "ray.dashboard.utils")


def test_the_job_servers_private_names_exist() -> None:
    from ray.dashboard.utils import ray_address_to_api_server_url
    from ray.job_submission import JobSubmissionClient

    assert list(inspect.signature(ray_address_to_api_server_url).parameters) == ["address"]
    assert list(inspect.signature(JobSubmissionClient._do_request).parameters)[:3] == ["self", "method", "endpoint"]


def test_the_control_stores_private_names_exist() -> None:
    from ray._private import services
    from ray._raylet import InnerGcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2, gcs_pb2

    assert callable(services.canonicalize_bootstrap_address_or_die)
    assert callable(InnerGcsClient.get_all_node_info) and callable(InnerGcsClient.drain_node)  # GcsClient passes calls on
    assert isinstance(gcs_pb2.GcsNodeInfo.ALIVE, int)  # type: ignore[attr-defined]
    assert isinstance(autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, int)  # type: ignore[attr-defined]


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


@pytest.mark.parametrize("folder", ["cluster", "datasets", "models"])
def test_no_other_file_names_private_parts_of_ray(folder: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "ray_internals.py" and any(is_private(name) for name in imported_names(path))
    ]
    assert not found


def is_private(name: str) -> bool:
    return name.startswith(PRIVATE) or (name.startswith("ray.") and "._" in name)


def imported_names(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
