"""Other users of this machine, and web pages in its user's browser, get nothing from the embedded services."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest

from tests.security.stranger import NOBODY, ROOT, as_stranger, needs_root
from unbraid.cluster.local.certificates import issue_certificates
from unbraid.cluster.local.listeners import listeners_below
from unbraid.cluster.local.ports import GRPC_OFFSET
from unbraid.cluster.local.services import FOLDER_VARIABLE, LocalServices, ServiceError
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import open_store

FOREIGN = {"Origin": "http://evil.example", "Host": "evil.example"}
"""What a browser sends for a page whose name was made to mean 127.0.0.1 (DNS rebinding)."""
MARK = "the-owners-own-words"
PATHS = (
    "/", "/status", "/metrics", "/ui/index.html", "/dir/status", "/dir/assign", "/vol/status", "/cluster/status",
    "/stats/disk", "/buckets/", "/buckets/unbraid/?limit=100", "/buckets/unbraid/secret/words", "/unbraid?list-type=2",
    "/unbraid/secret/words", "/etc/iam/identity.json", "/1,01637037d6",
)  # fmt: skip
HTTP = """
def ask(scheme, port, method, path):
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    options = {"context": ssl._create_unverified_context()} if scheme == "https" else {}
    connection = kind("127.0.0.1", port, timeout=3, **options)
    try:
        connection.request(method, path, body=b"overwritten" if method in ("PUT", "POST") else None, headers=given["headers"])
        answer = connection.getresponse()
        text = answer.read(100_000).decode(errors="replace")
        return answer.status, text, answer.getheader("Access-Control-Allow-Origin") or ""
    except (OSError, http.client.HTTPException):
        return 0, "", ""
    finally:
        connection.close()

print(json.dumps([
    [scheme, port, method, path, *ask(scheme, port, method, path)]
    for port in given["ports"] for scheme in ("http", "https") for method in given["methods"] for path in given["paths"]
]))
"""
GRPC = """
def call(port, credentials):
    target = f"127.0.0.1:{port}"
    channel = grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)
    with channel:
        try:
            return channel.unary_unary(given["method"])(bytes.fromhex(given["request"]), timeout=3).decode(errors="replace")
        except grpc.RpcError as error:
            return error.code().name

foreign = [text.encode() for text in given["foreign"]]
ways = [None, grpc.ssl_channel_credentials(foreign[0]), grpc.ssl_channel_credentials(foreign[0], foreign[2], foreign[1])]
print(json.dumps([call(port, way) for port in given["ports"] for way in ways]))
"""
IMPORT_GRPC = "import grpc; grpc.insecure_channel('127.0.0.1:1').close()"  # which imports the rest of it
FIND_ENTRY = {
    "method": "/filer_pb.SeaweedFiler/LookupDirectoryEntry",
    "request": (b"\x0a\x17/buckets/unbraid/secret" + b"\x12\x05words").hex(),
}


@pytest.fixture
def secret(services: LocalServices) -> Iterator[str]:
    """An object of the owner's; it must be there, unchanged, after the attack."""
    store = open_store("s3://unbraid/secret")
    store.put("words", MARK.encode())
    yield "secret/words"
    assert store.get("words") == MARK.encode()


@needs_root
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS"])
def test_no_port_of_the_s3_server_serves_a_stranger_or_a_web_page(services: LocalServices, secret: str, method: str) -> None:
    ports = [listener.port for listener in listeners_below(services.status()["s3"].pid)]
    assert len(ports) >= 10  # S3, master, volume, filer, admin, and gRPC for each
    given = {"ports": ports, "methods": [method], "paths": PATHS, "headers": FOREIGN}
    for scheme, port, _, path, status, body, origin in as_stranger(HTTP, given, seconds=60):
        assert MARK not in body, (scheme, port, path, body)
        assert not 200 <= status < 400 or not body, (scheme, port, path, body)
        assert method not in ("PUT", "POST", "DELETE") or not 200 <= status < 400, (scheme, port, path, status)
        assert "evil" not in origin and (status >= 400 or path == "/status" or origin != "*"), (scheme, port, path, origin)


@needs_root
def test_grpc_wants_a_certificate_that_only_the_servers_have(services: LocalServices, secret: str) -> None:
    """The same question with the right certificate is answered, so it is the certificate that decides."""
    folder, server = services.folder, services.status()["s3"]
    foreign = [part.decode() for part in issue_certificates()]
    foreign[0] = (folder / "s3-authority.pem").read_text()  # public: the stranger would believe the server
    ports = [port + GRPC_OFFSET for port in server.ports]
    answers = as_stranger(GRPC, FIND_ENTRY | {"ports": ports, "foreign": foreign}, imports=IMPORT_GRPC)
    assert answers == ["UNAVAILABLE"] * 3 * len(ports)
    parts = [(folder / f"s3-{part}.pem").read_bytes() for part in ("authority", "key", "certificate")]
    filer = f"127.0.0.1:{server.ports[3] + GRPC_OFFSET}"
    with grpc.secure_channel(filer, grpc.ssl_channel_credentials(*parts)) as channel:
        found = channel.unary_unary(FIND_ENTRY["method"])(bytes.fromhex(FIND_ENTRY["request"]), timeout=5)
    assert b"words" in found


@needs_root
def test_ray_wants_the_token_from_everybody(services: LocalServices) -> None:
    """Only health checks and metrics are answered without it; neither holds a key."""
    ports = [listener.port for listener in listeners_below(services.status()["ray"].pid)]
    paths = ["/", "/metrics", "/logs/", *(f"/api/{name}" for name in ("version", "jobs/", "cluster_status", "job_agent/jobs/"))]
    given = {"ports": ports, "methods": ["GET", "POST"], "paths": paths, "headers": FOREIGN}
    environment = services.environment()
    secrets = [environment["AWS_SECRET_ACCESS_KEY"], (services.folder / "ray_token").read_text()]
    answered = [answer for answer in as_stranger(HTTP, given, seconds=90) if 200 <= answer[4] < 400]
    for _, port, method, path, _, body, _ in answered:
        assert not any(text in body for text in secrets)
        empty_page = (method, path) == ("GET", "/")  # of the dashboard, which then asks for the token
        assert "# HELP" in body or empty_page, (port, method, path, body[:300])
    keys = {"method": "/ray.rpc.InternalKVGcsService/InternalKVKeys", "request": ""}
    foreign = [part.decode() for part in issue_certificates()]
    control_store = [services.status()["ray"].port]
    answers = as_stranger(GRPC, keys | {"ports": control_store, "foreign": foreign}, imports=IMPORT_GRPC)
    assert answers[0] == "UNAUTHENTICATED" and set(answers[1:]) == {"UNAVAILABLE"}


@needs_root
def test_a_stranger_reaches_no_socket_and_no_file_of_the_services(services: LocalServices) -> None:
    script = """
reached = []
for path in given["sockets"]:
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
        reached.append(path)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            reached.append(f"{path}: {error}")
for path in given["files"]:
    for attempt in (os.listdir, lambda path: (pathlib.Path(path) / "planted").write_text(""), lambda path: open(path).close()):
        try:
            attempt(path)
            reached.append(path)
        except (PermissionError, IsADirectoryError, NotADirectoryError):
            pass
print(json.dumps(reached))
"""
    for parent in services.folder.parents[:2]:
        parent.chmod(0o755)  # what pytest closes is open elsewhere
    sockets = unix_sockets(services)
    assert len(sockets) >= 9  # seven of the S3 server, raylet, object store
    files = [*services.folder.iterdir(), services.ray_folder(), services.ray_folder() / "session_latest", services.folder]
    assert as_stranger(script, {"sockets": sockets, "files": [str(path) for path in files]}) == []


def unix_sockets(services: LocalServices) -> list[str]:
    found: list[str] = []
    for service in services.status().values():
        parent = psutil.Process(service.pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                paths = [str(connection.laddr) for connection in process.net_connections("unix") if connection.laddr]
                found += [path for path in paths if Path(path).is_socket()]
    return found


def test_a_folder_that_others_could_enter_is_closed_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceError, match="is taken"):
            LocalServices(folder).up(s3_port=taken.getsockname()[1], report=said.append)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert said == [f"{folder}: others could enter it (mode 755), now only you can (700)"]


@needs_root
@pytest.mark.parametrize("linked", [False, True])
def test_services_that_another_user_has_prepared_are_not_used(linked: bool, tmp_path: Path) -> None:
    """They would name a cluster to which this user sends code."""
    planted, named = tmp_path / "planted", tmp_path / "named"
    planted.mkdir()
    service = {"pid": os.getpid(), "created": psutil.Process().create_time(), "port": 1, "ports": [1]}
    (planted / "running.json").write_text(json.dumps({"ray": service}))
    if linked:
        named.symlink_to(planted)
        os.chown(named, NOBODY, NOBODY, follow_symlinks=False)
    else:
        os.chown(planted, NOBODY, NOBODY)
        named = planted
    for use in (LocalServices(named).status, LocalServices(named).up):
        with pytest.raises(DataError, match=f"belongs to user {NOBODY}, not to you"):
            use()
    command = [sys.executable, "-m", "unbraid.cluster.cli", "train", "infogan-mnist-small"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {FOLDER_VARIABLE: str(named)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "its services are not used" in done.stderr
