"""The embedded services: idempotent, private, gone after down, clear when something is wrong."""

import json
import os
import re
import socket
import stat
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from unbraid.cluster.cli import main
from unbraid.cluster.commands.local import reach_text
from unbraid.cluster.local.listeners import Listener
from unbraid.cluster.local.seaweedfs import grpc_sockets
from unbraid.cluster.local.services import FOLDER_VARIABLE, JOB_VARIABLE, LocalServices, ServiceError, use_local_services
from unbraid.datasets.store import open_store
from unbraid.trainers.launch.ray_internals import ON_LOOPBACK


def test_up_twice_is_up_once(services: LocalServices) -> None:
    before = services.status()
    reported: list[str] = []
    services.up(report=reported.append)
    assert services.status() == before
    assert len(reported) == 2


def test_keys_are_private_and_generated(services: LocalServices) -> None:
    for name in ("s3.json", "ray_token", "running.json", "security.toml", "s3-key.pem"):
        assert stat.S_IMODE((services.folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(services.folder.stat().st_mode) == 0o700
    assert len(services.environment()["AWS_SECRET_ACCESS_KEY"]) >= 40


def test_keys_are_in_no_command_line_and_no_log(services: LocalServices) -> None:
    environment = services.environment()
    secret = environment["AWS_SECRET_ACCESS_KEY"]
    for service in services.status().values():
        assert secret not in " ".join(psutil.Process(service.pid).cmdline())
    assert not any(secret in log.read_text(errors="replace") for log in services.folder.glob("*.log"))


def test_all_ports_are_on_loopback_and_status_says_who_reaches_them(services: LocalServices) -> None:
    listeners = services.listeners()
    assert {"weed", "gcs_server", "raylet"} <= {listener.program for listener in listeners}
    assert [str(listener) for listener in listeners if not listener.on_loopback] == []
    status = CliRunner().invoke(main, ["local", "status"]).output
    shown = re.search(r"all (\d+) ports are on loopback", status)
    assert shown is not None and int(shown[1]) >= len(listeners)  # Ray may have opened some more meanwhile
    assert "ray_token" in status
    assert "1 of 2 ports are not on loopback" in reach_text([Listener("a", "::", 1), Listener("b", "::1", 2)], "folder")


def test_the_address_of_a_listener_says_who_reaches_it() -> None:
    assert all(Listener("raylet", address, 1).on_loopback for address in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"))
    assert not any(Listener("raylet", address, 1).on_loopback for address in ("192.0.2.2", "::", "::ffff:192.0.2.2"))


@pytest.mark.parametrize(
    ("option", "variable", "on_loopback"),
    [(None, None, True), ("10.0.0.5:6379", None, False), (None, "10.0.0.5:6379", False), (None, "auto", False)],
)
def test_only_a_driver_of_a_cluster_on_this_machine_stays_on_loopback(
    option: str | None, variable: str | None, on_loopback: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes of another cluster must reach the driver that joins it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    for name in (*ON_LOOPBACK, JOB_VARIABLE, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    use_local_services(option)
    assert (set(ON_LOOPBACK) <= set(os.environ)) == on_loopback


def test_a_driver_of_another_cluster_is_reachable_beside_running_services(
    services: LocalServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = services.ray_address()
    for address, on_loopback in (("10.0.0.5:6379", False), (here, True)):
        monkeypatch.setattr(os, "environ", os.environ.copy())
        for name in (*ON_LOOPBACK, "RAY_ADDRESS"):
            monkeypatch.delenv(name, raising=False)
        assert use_local_services(address) == here
        assert (set(ON_LOOPBACK) <= set(os.environ)) == on_loopback


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"])
def test_an_s3_server_that_the_environment_names_stays(
    services: LocalServices, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    monkeypatch.setattr(os, "environ", others | {name: "mine"})
    use_local_services()
    assert {key: value for key, value in os.environ.items() if key.startswith("AWS_")} == {name: "mine"}


def test_a_taken_port_is_reported_by_number(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"s3: port {port} on 127\.0\.0\.1 is taken"):
            LocalServices(tmp_path / "other").up(s3_port=port, report=lambda text: None)
    assert LocalServices(tmp_path / "other").status() == {}


def test_another_port_than_the_running_one_is_refused(services: LocalServices) -> None:
    with pytest.raises(ServiceError, match="s3 already runs on port"):
        services.up(s3_port=1, report=lambda text: None)


def test_a_server_of_an_earlier_version_is_not_taken_for_a_closed_one(tmp_path: Path) -> None:
    """Those recorded one port, and the others answered everybody."""
    (tmp_path / "s3.json").write_text("{}")
    before = {"pid": os.getpid(), "created": psutil.Process().create_time(), "port": 1}
    (tmp_path / "running.json").write_text(json.dumps({"s3": before}))
    with pytest.raises(ServiceError, match="s3 was started by an earlier unbraid and answers every user"):
        LocalServices(tmp_path).up(report=lambda text: None)


def test_a_whole_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down leaves no process; a killed server is reported by name; up again finds the data and the keys."""
    local = LocalServices(tmp_path / "life")

    def quiet(text: str) -> None:
        """Reports are not what is tested here."""

    local.down(report=quiet)
    local.up(report=quiet)
    tree = [
        p for s in local.status().values() for p in [psutil.Process(s.pid), *psutil.Process(s.pid).children(recursive=True)]
    ]
    assert len(tree) > 4
    assert local.ray_folder().is_dir()
    try:
        for name, value in local.environment().items():
            monkeypatch.setenv(name, value)
        open_store("s3://unbraid/kept").put("a", b"1")
        killed = local.status()["s3"]
        psutil.Process(killed.pid).kill()
        psutil.wait_procs(tree[:1], 10)
        with pytest.raises(ServiceError, match=r"s3 has died; its log is .*s3\.log"):
            local.status()
        assert any(path.exists() for path in grpc_sockets(killed.ports))
        local.up(report=quiet)
        assert not any(path.exists() for path in grpc_sockets(killed.ports))
        monkeypatch.setenv("AWS_ENDPOINT_URL", local.environment()["AWS_ENDPOINT_URL"])
        assert open_store("s3://unbraid/kept").get("a") == b"1"
        tree += [psutil.Process(local.status()["s3"].pid)]
    finally:
        local.down(report=quiet)
        local.down(report=quiet)
    assert local.status() == {}
    _, alive = psutil.wait_procs(tree, 10)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert (local.folder / "s3.json").exists()
    assert not local.ray_folder().exists()
