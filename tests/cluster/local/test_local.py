"""The embedded services: idempotent, private, gone after down, clear when something is wrong."""

import socket
import stat
from pathlib import Path

import psutil
import pytest

from unbraid.cluster.local.services import LocalServices, ServiceError
from unbraid.datasets.store import open_store


def test_up_twice_is_up_once(services: LocalServices) -> None:
    before = services.status()
    reported: list[str] = []
    services.up(report=reported.append)
    assert services.status() == before
    assert len(reported) == 2


def test_keys_are_private_and_generated(services: LocalServices) -> None:
    for name in ("s3.json", "ray_token", "running.json"):
        assert stat.S_IMODE((services.folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(services.folder.stat().st_mode) == 0o700
    assert len(services.environment()["AWS_SECRET_ACCESS_KEY"]) >= 40


def test_keys_are_in_no_command_line_and_no_log(services: LocalServices) -> None:
    environment = services.environment()
    secret = environment["AWS_SECRET_ACCESS_KEY"]
    for service in services.status().values():
        assert secret not in " ".join(psutil.Process(service.pid).cmdline())
    assert not any(secret in log.read_text(errors="replace") for log in services.folder.glob("*.log"))


def test_s3_listens_on_loopback_only(services: LocalServices) -> None:
    process = psutil.Process(services.status()["s3"].pid)
    listening = {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


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
        psutil.Process(local.status()["s3"].pid).kill()
        psutil.wait_procs(tree[:1], 10)
        with pytest.raises(ServiceError, match=r"s3 has died; its log is .*s3\.log"):
            local.status()
        local.up(report=quiet)
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
