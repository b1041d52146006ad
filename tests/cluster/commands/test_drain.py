"""Leaving a cluster in order; tests/k8s/test_pods.py shows what happens to runs on such nodes."""

import pytest

from tests.trainers.launch.test_launch import wait_for
from unbraid.cluster.commands.drain import DrainError, announce, is_at_work, is_driver
from unbraid.cluster.local.ports import free_ports
from unbraid.cluster.local.services import LocalServices


def test_what_is_asked_to_end_and_what_is_waited_for() -> None:
    assert is_driver(["/opt/bin/python", "/opt/bin/unbraid", "train", "infogan-mnist"])
    assert is_driver(["python", "-m", "unbraid.cluster.cli", "tune", "mine.yaml"])
    assert not is_driver(["/bin/sh", "-c", "unbraid train infogan-mnist"])  # the shell of a job: its child is the driver
    assert not is_driver(["python", "/opt/bin/unbraid", "jobs", "list"])
    assert is_at_work(["ray::RayTrainWorker.execute", ""])
    assert not is_at_work(["ray::IDLE", ""])
    assert not is_at_work(["/opt/ray/raylet", "--node-ip-address=10.0.0.1"])


def test_a_head_is_not_drained(services: LocalServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", str(services.ray_address()))

    def announced() -> bool:
        try:
            return announce(1.0) is False
        except DrainError as error:  # a head that answers may not have joined itself yet
            assert "no living node" in str(error)
            return False

    wait_for(announced, "the head to be among its nodes", 30)


def test_a_missing_cluster_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(DrainError, match="set RAY_ADDRESS to HOST:6379"):
        announce(1.0)
