"""The doctor's findings for given answers of nodes; tests/cluster/commands/test_doctor.py asks a real cluster."""

import platform
from typing import Any

import pytest

from unbraid.cluster.doctor import findings
from unbraid.cluster.doctor.findings import Answers, about_disks, about_ports, about_versions

GIB = 1 << 30


def facts(**change: Any) -> dict[str, Any]:
    packages = {"torch": "2.13.0", "ray": "2.60.0"} | change.pop("packages", {})
    healthy = {"shm_total": GIB, "disk_free": 5 * GIB, "listeners": [], "token": True}
    return {"python": platform.python_version(), "packages": packages, **healthy} | change


def answers(*nodes: Any) -> Answers:
    return Answers({f"node{number}": {"facts": node} for number, node in enumerate(nodes)})


@pytest.mark.parametrize(
    ("node", "level", "text"),
    [
        (facts(), "pass", "torch 2.13.0, as in constraints.txt"),
        (facts(packages={"torch": "2.13.0+cu130"}), "pass", "as in constraints.txt"),
        (facts(packages={"torch": "2.12.0"}), "warn", "node1 has torch 2.12.0, tested with 2.13.0"),
        (facts(packages={"torch": ""}), "fail", "node1 has no torch"),
        (facts(python="3.9.1"), "fail", "node1 has Python 3.9.1"),
        (OSError("no answer"), "fail", "node1: no answer"),
    ],
)
def test_the_worst_node_decides_about_versions(node: Any, level: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_constraints", lambda: {"torch": "2.13.0"})
    finding = about_versions(answers(facts(), node))
    assert finding.level == level
    assert text in finding.text
    assert bool(finding.remedy) == (level != "pass")


def test_without_a_checkout_no_comparison_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "checkout", lambda: None)
    finding = about_versions(answers(facts(packages={"torch": "1.0"})))
    assert (finding.level, "not compared with constraints.txt" in finding.text) == ("pass", True)


def test_a_node_with_little_shared_memory_or_disk_is_a_warning() -> None:
    assert [finding.level for finding in about_disks(answers(facts()))] == ["pass", "pass"]
    memory, disk = about_disks(answers(facts(), facts(shm_total=GIB - 1, disk_free=5 * GIB - 1)))
    assert (memory.level, disk.level) == ("warn", "warn")
    assert "object store" in memory.remedy


@pytest.mark.parametrize(
    ("nodes", "level", "text"),
    [
        ([facts()], "pass", "are on loopback"),
        ([facts(), facts(listeners=["raylet :::6380"])], "pass", "want the token, metrics do not: node1: raylet :::6380"),
        ([facts(), facts(listeners=["raylet :::6380"], token=False)], "warn", "without a token: node1: raylet :::6380"),
        ([facts(token=False)], "pass", "are on loopback"),
    ],
)
def test_ports_that_the_network_reaches_are_named(nodes: list[Any], level: str, text: str) -> None:
    finding = about_ports(answers(*nodes))
    assert (finding.level, text in finding.text) == (level, True), finding
    assert bool(finding.remedy) == (level == "warn")
