"""A run on hosts of its own, submitted from outside them: what a researcher's cluster does, in small."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tests.conftest import TRAIN
from tests.datasets.store.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.faults.hosts import Host, Network, network
from tests.trainers.launch.test_launch import wait_for
from tests.trainers.systems.infogan.test_system import TINY
from unbraid.datasets.store import Store
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run

ROOT = Path(__file__).parent.parent.parent
TRACING = Path(__file__).parent / "tracing.py"
SETTINGS = [
    *TINY[:-1], "run.cpus=1", "run.log_every=1", "run.preview_every=0", "run.checkpoint_every=20", "run.batch_norm=global",
    "run.max_failures=100", "run.worker_timeout_seconds=8", "run.resize_seconds=5", "run.storage_retry_minutes=5",
    "optim.decay_from=0.99",
]  # fmt: skip


PACE = 0.15
"""Seconds that an update takes at least."""


@dataclass
class Following:
    """A submit command. Its output goes to a file: one that nobody reads from a pipe would hold the command up."""

    process: subprocess.Popen[bytes]
    log: Path

    def finish(self, seconds: float = 400) -> tuple[int, str]:
        """Its exit status and output, when it has ended."""
        return self.process.wait(seconds), self.log.read_text()


@dataclass
class Scenario:
    """Hosts, an S3 server that they reach through a proxy, and one run at a time.

    Attributes:
        tree: what is submitted: this project's packages, and :mod:`tests.faults.tracing` for Python to run first.
        trace: folder in which each worker notes the batches that it was handed.
        scratch: folder for every host's temporary files.
    """

    net: Network
    proxy: FaultProxy
    data: str
    storage: str
    tree: Path
    trace: Path
    scratch: Path
    name: str = "run"
    head: Host | None = None
    workers: list[Host] = field(default_factory=list)
    disks: list[Path] = field(default_factory=list)
    _submitted: Iterator[int] = field(default_factory=itertools.count)

    def up(self, workers: int, cpus: int = 1, head_environment: Mapping[str, str] | None = None) -> None:
        """A head without CPUs, and so many hosts with some."""
        self.head = self.net.head(head_environment)
        self.workers = [self.net.worker(self.head, cpus) for _ in range(workers)]

    def bring_back(self, host: Host, environment: Mapping[str, str] | None = None) -> None:
        """Nothing of the node is left; it starts anew and joins the head."""
        assert self.head is not None
        host.kill()
        host.heal()
        self.net.worker(self.head, host=host, environment=environment)

    def small_disk(self, megabytes: int) -> Path:
        """A disk of so little, until the hosts are gone."""
        path = self.net.folder / f"disk{len(self.disks)}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)], check=True)
        self.disks.append(path)
        return path

    def on_head(self, *command: str) -> str:
        """What a command prints there."""
        assert self.head is not None
        environment = self._laptop() | self.net.environment | {"RAY_ADDRESS": f"{self.head.address}:6379"}
        whole = ["ip", "netns", "exec", self.head.name, *command]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=True).stdout

    def drain(self, host: Host, seconds: int) -> None:
        """Tell Ray, as a cloud's notice does, that a node will be taken away."""
        assert self.head is not None
        self.on_head(
            sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", f"{self.head.address}:6379",
            "--node-id", self.node_id(host), "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
            "--deadline-remaining-seconds", str(seconds),
        )  # fmt: skip

    def node_id(self, host: Host) -> str:
        """What Ray calls a living node."""
        script = (
            "import ray; ray.init(logging_level='ERROR', log_to_driver=False); "
            f"print([n['NodeID'] for n in ray.nodes() if n['Alive'] and n['NodeManagerAddress'] == '{host.address}'][-1])"
        )
        return self.on_head(sys.executable, "-c", script).split()[-1]

    def fail_storage(self, fault: Fault | None) -> None:
        """What the proxy does to every request from now on."""
        self.proxy.fault = lambda number, line: fault

    def jobs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``unbraid jobs`` from the laptop."""
        assert self.head is not None
        command = [
            sys.executable,
            "-m",
            "unbraid.cluster.cli",
            "jobs",
            *arguments,
            "--address",
            f"http://{self.head.address}:8265",
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=self._laptop(), check=False)

    def command(self, *overrides: str) -> list[str]:
        """The submit command of this run."""
        assert self.head is not None
        settings = [*SETTINGS, f"data.url={self.data}", f"run.storage={self.storage}", f"run.name={self.name}", *overrides]
        address = f"http://{self.head.address}:8265"
        return [
            sys.executable, "-m", "unbraid.cluster.cli", "submit", "--address", address, "--working-dir", str(self.tree),
            "train", "infogan-mnist", *settings,
        ]  # fmt: skip

    def submit(self, *overrides: str) -> Following:
        """Start the command, which follows the job that it submits."""
        log = self.net.folder / f"submit-{next(self._submitted)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(*overrides), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=self._laptop()
            )
        return Following(process, log)

    @staticmethod
    def _laptop() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "UNBRAID_LOCAL_DIR")}

    @property
    def store(self) -> Store:
        """Of the run, reached without the proxy."""
        return open_run(self.storage, self.name)

    def hold(self, update: int) -> None:
        """Let no worker begin an update at or after this one, until :meth:`release`; what happens before is sure to."""
        batch = int(next(word for word in SETTINGS if word.startswith("data.batch=")).partition("=")[2])
        (self.trace / "hold").write_text(json.dumps(divmod(update, TRAIN // batch)))

    def release(self) -> None:
        """Let training go on."""
        (self.trace / "hold").unlink()

    def step(self) -> int:
        """The newest update that the record tells of; 0 before."""
        lines = read_metrics(self.store)
        return max((int(line["step"]) for line in lines), default=0)

    def starts(self) -> int:
        return int(read_run(self.store).get("starts", 0))

    def worlds(self) -> list[int]:
        """Workers that trained each update, in the end."""
        return [int(line["run/workers"]) for line in read_metrics(self.store) if "run/workers" in line]

    def world(self) -> int:
        """Workers at the newest line."""
        return self.worlds()[-1]

    def goes_on(self, since: float) -> bool:
        """Whether the record tells of an update after a time, which is in seconds since the epoch."""
        return any(line["time"] > since for line in read_metrics(self.store))

    def recover(self, name: str, updates: int, strike: Callable[[Host], object], *overrides: str) -> float:
        """Train a run on two workers, strike at the second host once, and see the run end with every update once.

        Returns:
            Seconds from the strike to the first update of the group that goes on.
        """
        self.name = name
        command = self.submit("run.workers=2", f"run.updates={updates}", *overrides)
        wait_for(lambda: self.step() > 25, "training", 180)
        struck, starts = time.time(), self.starts()
        strike(self.workers[1])
        wait_for(lambda: self.starts() > starts and self.goes_on(struck + 1), "going on", 180)
        taken = time.time() - struck
        code, text = command.finish()
        assert code == 0, text
        assert every_update_once(self.store, updates)
        return taken

    def events(self) -> list[str]:
        return [f"{event.kind}: {event.message}" for event in read_events(self.store)]


def kill_trainers(host: Host) -> None:
    for process in host.trainers():
        process.kill()


def stop_trainers(host: Host) -> None:
    """Stopped, not ended: as a process that hangs."""
    for process in host.trainers():
        process.suspend()


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
        tree, trace, scratch = (Path(folder) / name for name in ("tree", "trace", "scratch"))
        for made_here in (tree, trace, scratch):
            made_here.mkdir()
        for package in ("unbraid", "models", "datasets", "trainers", "cluster"):
            shutil.copytree(ROOT / package, tree / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(TRACING, tree / "sitecustomize.py")
        (trace / "pace").write_text(str(PACE))
        net.environment |= {"AWS_ENDPOINT_URL": proxy.url, "UNBRAID_TRACE": str(trace), "TMPDIR": str(scratch)}
        made = Scenario(net, proxy, data, storage, tree, trace, scratch)
        try:
            yield made
        finally:
            for disk in made.disks:
                subprocess.run(["umount", "--lazy", str(disk)], check=True)
