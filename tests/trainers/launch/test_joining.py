"""An address at which no Ray cluster can be joined is one error within seconds."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import LocalServices
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch import joining
from unbraid.trainers.launch.joining import fitted, require_answer


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def web_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("command", [["train", "infogan-mnist-small"], ["tune", "infogan-mnist-weights-small"]])
def test_a_dead_cluster_is_one_error_within_seconds(
    command: list[str], digits_folder: object, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address := f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("UNBRAID_LOCAL_DIR", f"{tmp_path}/none")
    if command[0] == "tune":
        monkeypatch.setattr(joining, "LISTEN_SECONDS", 1.0)  # the other shows the real one
    data = f"data.url={digits_folder}"
    where = [data, f"run.storage={tmp_path}"] if command[0] == "train" else [f"fixed.{data}", "--storage", str(tmp_path)]
    started = time.monotonic()
    refused = CliRunner().invoke(main, [*command, *where])
    assert time.monotonic() - started < 15 + 5, "seconds; 5 of them for imports on a busy machine"
    assert refused.exit_code == 1
    assert f"Error: no Ray cluster answers at {address} (" in refused.output
    assert "--address or RAY_ADDRESS" in refused.output
    assert "Traceback" not in refused.output


def test_what_listens_and_is_no_ray_is_told(web_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "SPEAK_SECONDS", 1.0)
    with pytest.raises(ConfigError, match=f"no Ray cluster answers at {web_server} .something listens there that is no"):
        require_answer(web_server)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "wants a token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}, "refuses this process's token"),
    ],
)
def test_a_head_whose_token_is_missing_or_wrong_is_one_error_within_seconds(
    variables: dict[str, str], message: str, services: LocalServices, digits_folder: object, tmp_path: object
) -> None:
    address = str(services.ray_address())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= variables | {"UNBRAID_LOCAL_DIR": f"{tmp_path}/none"}  # local services would hand their token over
    command = [sys.executable, "-m", "unbraid.cluster.cli", "train", "infogan-mnist-small", "--address", address]
    command += [f"data.url={digits_folder}", f"run.storage={tmp_path}"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert f"Error: {address}: the cluster {message}" in refused.stderr
    assert "Traceback" not in refused.stderr
    require_answer(address)  # with the token


def test_a_head_that_is_just_starting_is_waited_for(web_server: str) -> None:
    port = free_port()

    def listen() -> None:
        time.sleep(1.5)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.accept()

    thread = threading.Thread(target=listen)
    thread.start()
    joining._require_listener("head", "127.0.0.1", port)
    thread.join()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://head:8265", "http://head:8265: the address of a job server, which `unbraid submit` and `unbraid jobs` take"),
        ("https://head", "https://head: the address of a job server"),
        ("head", "head: not the address of a Ray cluster; expected HOST:PORT of its head, such as head:6379"),
        ("head:99999", "head:99999: not the address of a Ray cluster"),
        (":6379", ":6379: not the address of a Ray cluster"),
        ("ray://head", "ray://head: not the address of a Ray cluster"),
    ],
)
def test_an_address_of_another_kind_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_answer(address)
    assert str(caught.value).startswith(message)


def test_what_ray_finds_itself_is_left_to_it() -> None:
    for address in (None, "auto", "local"):
        require_answer(address)


def needs_two(there: Mapping[str, float]) -> float:
    if there.get("CPU", 0) < 2:
        raise ConfigError(f"need 2 CPUs, the cluster has {there.get('CPU', 0):g}")
    return there["CPU"]


@pytest.mark.parametrize("first", [{}, {"CPU": 1.0}])
def test_nodes_that_are_still_joining_are_waited_for_with_one_line(
    first: dict[str, float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    seen = iter([first, first, {"CPU": 4.0}])
    assert fitted(needs_two, lambda: next(seen), "head:6379") == 4
    assert len(caplog.messages) == 1
    assert "still joining: need 2 CPUs, the cluster has" in caplog.messages[0]


def test_what_a_cluster_of_one_machine_never_has_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def slept(seconds: float) -> None:
        raise AssertionError("waited")

    monkeypatch.setattr(time, "sleep", slept)
    for address in (None, "127.0.0.1:6379"):
        with pytest.raises(ConfigError, match="the cluster has 1"):
            fitted(needs_two, lambda: {"CPU": 1.0}, address)


def test_the_wait_for_nodes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "RESOURCE_SECONDS", 1.5)
    with pytest.raises(ConfigError, match="the cluster has 1"):
        fitted(needs_two, lambda: {"CPU": 1.0}, "head:6379")
