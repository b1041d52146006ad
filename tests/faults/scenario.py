"""A run on hosts of its own, submitted from outside them: what a researcher's cluster does, in small."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from datasets.store import Store
from tests.datasets.fault_proxy import fault_proxy
from tests.faults.hosts import Host, Network, network
from tests.trainers.test_infogan import TINY
from trainers.checkpoint import Checkpoints
from trainers.record import open_run, read_events, read_metrics, read_run

ROOT = Path(__file__).parent.parent.parent
SETTINGS = [
    *TINY[:-1], "run.cpus=1", "run.log_every=1", "run.preview_every=0", "run.checkpoint_every=20", "run.batch_norm=global",
    "run.max_failures=100", "run.silence_seconds=8", "run.resize_seconds=5", "run.patience_minutes=5", "optim.decay_from=0.99",
]  # fmt: skip


@dataclass
class Scenario:
    """Hosts, an S3 server that they reach, and one run."""

    net: Network
    data: str
    storage: str
    name: str = "run"
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


def weights(store: Store) -> dict[str, torch.Tensor]:
    """Of the newest checkpoint."""
    state = Checkpoints(store, 9).load()
    assert state is not None
    return {f"{n}.{k}": v for n, network in state["networks"].items() for k, v in network.items()}


def every_update_once(store: Store, updates: int) -> bool:
    """Whether the record tells each update exactly once."""
    return [line["step"] for line in read_metrics(store) if "loss/d" in line] == list(range(1, updates + 1))


def longest_pause(store: Store) -> float:
    """Seconds between two updates that follow each other in the record, at most."""
    times = [line["time"] for line in read_metrics(store) if "loss/d" in line]
    return float(max(after - before for before, after in itertools.pairwise(times)))


@contextmanager
def scenario(data: str, storage: str) -> Iterator[Scenario]:
    """Hosts that reach the S3 server of this machine's loopback through a proxy on their bridge."""
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")}
    token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    # Ray's sockets lie in the folder, and their paths may have 107 characters: pytest's folders are too long
    with (
        tempfile.TemporaryDirectory(prefix="ub", ignore_cleanup_errors=True) as folder,
        network(Path(folder), {**keys, **token}) as net,
        fault_proxy(os.environ["AWS_ENDPOINT_URL"], lambda number, line: None, bind=net.gateway) as proxy,
    ):
        net.environment["AWS_ENDPOINT_URL"] = proxy.url
        yield Scenario(net, data, storage)
