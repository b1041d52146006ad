"""A run on hosts of its own, submitted from outside them: what a researcher's cluster does, in small."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from datasets.store import Store
from tests.datasets.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.faults.hosts import Host, Network, network
from tests.trainers.test_infogan import TINY
from trainers.checkpoint import Checkpoints
from trainers.lease import newest
from trainers.record import open_run, read_events, read_metrics, read_run

ROOT = Path(__file__).parent.parent.parent
SETTINGS = [
    *TINY[:-1], "run.cpus=1", "run.log_every=1", "run.preview_every=0", "run.checkpoint_every=20", "run.batch_norm=global",
    "run.max_failures=100", "run.silence_seconds=8", "run.resize_seconds=5", "run.patience_minutes=5", "optim.decay_from=0.99",
]  # fmt: skip


@dataclass
class Scenario:
    """Hosts, an S3 server that they reach through a proxy, and one run.

    Attributes:
        fault: what the proxy does to the next requests; None is nothing.
    """

    net: Network
    proxy: FaultProxy
    data: str
    storage: str
    name: str = "run"
    fault: Fault | None = None
    only: str = ""
    head: Host | None = None
    workers: list[Host] = field(default_factory=list)

    def up(self, workers: int, cpus: int = 1) -> None:
        """A head without CPUs, and so many hosts with some."""
        self.head = self.net.head()
        self.workers = [self.net.worker(self.head, cpus) for _ in range(workers)]

    def command(self, *overrides: str) -> list[str]:
        """The submit command of this run."""
        assert self.head is not None
        settings = [*SETTINGS, f"data.url={self.data}", f"run.storage={self.storage}", f"run.name={self.name}", *overrides]
        address = f"http://{self.head.address}:8265"
        return [sys.executable, "-m", "cluster.cli", "submit", "--address", address, "train", "infogan-mnist", *settings]

    def submit(self, *overrides: str) -> subprocess.Popen[str]:
        """Start the command; its output can be read when it has ended."""
        return subprocess.Popen(
            self.command(*overrides), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._laptop()
        )

    def unbraid(self, *arguments: str) -> str:
        """What a command says, about this cluster."""
        assert self.head is not None
        command = [sys.executable, "-m", "cluster.cli", *arguments, "--address", f"http://{self.head.address}:8265"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=self._laptop(), timeout=120, check=False)
        return done.stdout + done.stderr

    @staticmethod
    def _laptop() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "UNBRAID_LOCAL_DIR")}

    @property
    def store(self) -> Store:
        """Of the run, reached without the proxy."""
        return open_run(self.storage, self.name)

    def step(self) -> int:
        """The newest update that the record tells of; 0 before."""
        lines = read_metrics(self.store)
        return max((int(line["step"]) for line in lines), default=0)

    def starts(self) -> int:
        return int(read_run(self.store).get("starts", 0))

    def world(self) -> int:
        """Workers at the newest line."""
        lines = [line for line in read_metrics(self.store) if "run/workers" in line]
        return int(lines[-1]["run/workers"])

    def events(self) -> list[str]:
        return [f"{event['kind']}: {event['message']}" for event in read_events(self.store)]

    def checkpoints(self) -> list[int]:
        return Checkpoints(self.store, 9).steps()

    def train_workers(self) -> list[psutil.Process]:
        """The processes that train."""
        return [process for host in self.workers for process in host.find("ray::RayTrainWorker")]


def weights(store: Store) -> dict[str, torch.Tensor]:
    """Of the newest checkpoint."""
    state = Checkpoints(store, 9).load()
    assert state is not None
    return {f"{n}.{k}": v for n, network in state["networks"].items() for k, v in network.items()}


def every_update_once(store: Store, updates: int) -> bool:
    """Whether the record tells each update exactly once."""
    return [line["step"] for line in read_metrics(store) if "loss/d" in line] == list(range(1, updates + 1))


def holder(store: Store) -> str:
    return str(newest(store)[1])


@contextmanager
def scenario(folder: Path, data: str, storage: str) -> Iterator[Scenario]:
    """Hosts whose S3 endpoint is a proxy before the real server."""
    made: list[Scenario] = []

    def fault(number: int, line: str) -> Fault | None:
        if not made or not line.startswith(made[0].only):
            return None
        return made[0].fault

    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")}
    token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    with (
        network(folder, {**keys, **token}) as net,
        fault_proxy(os.environ["AWS_ENDPOINT_URL"], fault, bind=net.gateway) as proxy,
    ):
        net.environment["AWS_ENDPOINT_URL"] = proxy.url
        made.append(Scenario(net, proxy, data, storage))
        yield made[0]
