"""Hosts made of network namespaces: each has an address of its own on a bridge, and can be cut off for real."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from unbraid.trainers.launch.ray_internals import ON_LOOPBACK

NETWORK = "10.213.{}"
_FILES = Path("/etc/netns")
"""What `ip netns exec` puts in the place of a host's own files under /etc."""
_PREFIX = f"u{os.getpid() % 100_000}"
OF_THIS_MACHINE = ("UNBRAID_LOCAL_DIR", "RAY_ADDRESS", "UNBRAID_JOB", *ON_LOOPBACK)
IMPATIENT = {
    # a lost node is declared dead after about 6 s instead of 65
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "2000",
}


def missing() -> str | None:
    """Why hosts cannot be made here; None when they can."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if shutil.which("ip") is None:
        return "ip is not there: install Debian's iproute2"
    return None


def on_hosts(seconds: int = 1200) -> list[pytest.MarkDecorator]:
    """Marks of a test module that needs hosts, each of whose tests may take so long."""
    reason = missing()
    return [pytest.mark.slow, pytest.mark.timeout(seconds), pytest.mark.skipif(reason is not None, reason=reason or "")]


@dataclass
class Host:
    """A namespace with an address on the bridge, and the Ray node that runs in it."""

    name: str
    address: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """A program on this host."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env={**{k: v for k, v in os.environ.items() if k not in OF_THIS_MACHINE}, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Nothing reaches this host any more, or leaves it."""
        _ip("link", "set", f"{self.name}b", "down")

    def heal(self) -> None:
        """It is connected again."""
        _ip("link", "set", f"{self.name}b", "up")

    def everything(self) -> list[psutil.Process]:
        """All processes that run in the namespace."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False).stdout
        found = []
        for pid in pids.split():
            try:
                found.append(psutil.Process(int(pid)))
            except psutil.NoSuchProcess:
                continue
        return found

    def find(self, words: str) -> list[psutil.Process]:
        """Processes whose command line holds some words."""
        found = []
        for process in self.everything():
            try:
                if words in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def trainers(self) -> list[psutil.Process]:
        """Processes that train."""
        return self.find("RayTrainWorker")

    def drivers(self) -> list[psutil.Process]:
        """Processes of jobs that train; a shell that has started one is not it."""
        return [process for process in self.find("-m unbraid.cluster.cli train") if "python" in process.name()]

    def restart(self, part: str, log: Path, pause: float = 0.0) -> None:
        """Kill the process whose command line names a part of Ray, and start the same one again."""
        (process,) = self.find(part)
        command, environment = process.cmdline(), process.environ()
        process.kill()
        time.sleep(pause)
        self.start(command, environment, log)

    def kill(self) -> None:
        """As when the power goes."""
        for process in self.everything():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for started in self.processes:
            started.wait()
        self.processes.clear()


class Network:
    """A bridge and the hosts on it.

    Args:
        folder: for logs, and Ray's files.
        environment: of every program on a host.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {**environment, **IMPATIENT}
        self._number = os.getpid() % 250
        self._hosts: list[Host] = []
        self._numbers = itertools.count(11)
        self.bridge = f"{_PREFIX}br"
        self.gateway = NETWORK.format(f"{self._number}.1")
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("addr", "add", f"{self.gateway}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def host(self) -> Host:
        """One more, connected."""
        number = next(self._numbers)
        name, address = f"{_PREFIX}h{number}", NETWORK.format(f"{self._number}.{number}")
        # names are looked up nowhere, which is answered at once: a server that cannot be reached would be waited for
        resolver = _FILES / name / "resolv.conf"
        resolver.parent.mkdir(parents=True)
        resolver.write_text("nameserver 127.0.0.1\n")
        _ip("netns", "add", name)
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
        _ip("link", "set", f"{name}a", "netns", name)
        _ip("link", "set", f"{name}b", "master", self.bridge, "up")
        for command in (("addr", "add", f"{address}/24", "dev", f"{name}a"), ("link", "set", f"{name}a", "up"),
                        ("link", "set", "lo", "up"), ("route", "add", "default", "via", self.gateway)):  # fmt: skip
            _ip("-n", name, *command)
        host = Host(name, address)
        self._hosts.append(host)
        return host

    def head(self, environment: Mapping[str, str] | None = None, host: Host | None = None) -> Host:
        """A host with a Ray head that trains nothing, whose job server answers at port 8265.

        Its processes stand alone: one may end, and be started again.
        """
        host = host or self.host()
        command = ["--head", "--port=6379", "--dashboard-host=0.0.0.0", "--dashboard-port=8265", "--num-cpus=0"]
        self._ray(host, command, {"RAY_ADDRESS": f"{host.address}:6379", **(environment or {})})
        wait_until_answers(host.address, 8265)
        return host

    def worker(self, head: Host, cpus: int = 1, host: Host | None = None, environment: Mapping[str, str] | None = None) -> Host:
        """A host with a Ray node that has joined a head."""
        host = host or self.host()
        further = {"RAY_ADDRESS": f"{head.address}:6379", **(environment or {})}
        self._ray(host, ["--block", f"--address={head.address}:6379", f"--num-cpus={cpus}"], further)
        return host

    def _ray(self, host: Host, arguments: list[str], further: Mapping[str, str]) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # the machine's name, which gloo would look up, stands for its loopback here
        further = {**further, "GLOO_SOCKET_IFNAME": f"{host.name}a"}
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-ip-address={host.address}",
            "--disable-usage-stats", "--object-store-memory=200000000", f"--temp-dir={self.folder / host.name}",
            *arguments,
        ]  # fmt: skip
        host.start(command, {**self.environment, **further, "PATH": path}, self.folder / f"{host.name}.log")

    def close(self) -> None:
        """End every program, and take hosts and bridge away."""
        for host in self._hosts:
            host.kill()
            _ip("link", "del", f"{host.name}b")  # of itself it goes when the last process has been reaped
            _ip("netns", "del", host.name)
            shutil.rmtree(_FILES / host.name)
        _ip("link", "del", self.bridge)


@contextmanager
def network(folder: Path, environment: Mapping[str, str]) -> Iterator[Network]:
    """A network that is gone after the block."""
    made = Network(folder, environment)
    try:
        yield made
    finally:
        made.close()


def wait_until_answers(address: str, port: int, seconds: float = 60) -> None:
    import socket

    until = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((address, port), 1):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
