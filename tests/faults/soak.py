"""A long training in which something goes wrong again and again, as a seed decides."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.datasets.store.fault_proxy import Fault
from tests.faults.hosts import Host
from tests.faults.scenario import ROOT, Scenario, every_update_once, kill_trainers, stop_trainers
from tests.faults.seen import Handed, check_samples
from tests.trainers.launch.test_launch import wait_for
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.record import read_config, run_status

EVERY_SECONDS = 60.0
MOST_SILENCE = 300.0
"""Without an update for so long the run hangs. Recovery from one fault takes up to a minute, and the next strikes meanwhile."""


@dataclass
class Soak:
    """Strikes at a run, and does what a person or KubeRay would: brings nodes back, submits again what has failed.

    Attributes:
        strikes: faults so far, by name.
        submitted: times that the command was started.
        silences: the longest time without an update, after each strike.
    """

    scenario: Scenario
    seed: int
    overrides: tuple[str, ...]
    strikes: Counter[str] = field(default_factory=Counter)
    submitted: int = 0
    silences: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Strike for so long, then let the run come to its end."""
        self._random = random.Random(self.seed)
        self._submit()
        wait_for(lambda: self.scenario.step() > 20, "training", 180)
        self._step, self._since = self.scenario.step(), time.monotonic()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_over():
            strike = self._random.choice(FAULTS)
            self.strikes[strike.__name__] += 1
            struck = time.monotonic()
            sys.stderr.write(f"update {self.scenario.step()}: {strike.__name__}\n")
            strike(self.scenario, self._random)
            self._watch(struck + EVERY_SECONDS)
        self._watch(float("inf"))

    def _submit(self) -> None:
        self.submitted += 1
        self._command = self.scenario.submit(*self.overrides)

    def _is_over(self) -> bool:
        return run_status(self.scenario.store) == "finished"

    def _watch(self, until: float) -> None:
        """See that the run goes on, up to a time or its end."""
        longest = 0.0
        while time.monotonic() < until:
            code = self._command.process.poll()
            if code == 0 or self._is_over():
                self._command.finish(60)
                break
            if code is not None:
                time.sleep(3)
                self._submit()
            now = self.scenario.step()
            if now != self._step:
                self._step, self._since = now, time.monotonic()
            longest = max(longest, time.monotonic() - self._since)
            assert longest < MOST_SILENCE, f"no update for {longest:.0f} s after update {now}; strikes: {self.strikes}"
            time.sleep(0.5)
        self.silences.append(longest)


def kill_worker(s: Scenario, rng: random.Random) -> None:
    """One process that trains."""
    kill_trainers(rng.choice(s.workers))


def hang_worker(s: Scenario, rng: random.Random) -> None:
    """One process that trains is stopped, and not continued."""
    stop_trainers(rng.choice(s.workers))


def kill_node(s: Scenario, rng: random.Random) -> None:
    """It starts again 15 s later."""
    host = rng.choice(s.workers)
    host.kill()
    time.sleep(15)
    s.bring_back(host)


def cut_node(s: Scenario, rng: random.Random) -> None:
    """For 20 s, which is more than it takes to be declared dead; then its node starts anew."""
    host = rng.choice(s.workers)
    host.cut()
    time.sleep(20)
    s.bring_back(host)


def cut_node_briefly(s: Scenario, rng: random.Random) -> None:
    """For 2 s, which nobody needs to notice."""
    host = rng.choice(s.workers)
    host.cut()
    time.sleep(2)
    host.heal()


def drain_node(s: Scenario, rng: random.Random) -> None:
    """With 30 s of notice."""
    host = rng.choice(s.workers)
    try:
        s.drain(host, 30)
    except (subprocess.CalledProcessError, IndexError):
        return  # the node is just being started
    time.sleep(30)
    s.bring_back(host)


def storage_away(s: Scenario, rng: random.Random) -> None:
    """For 30 s."""
    _storage(s, "away")


def storage_refuses(s: Scenario, rng: random.Random) -> None:
    """For 30 s, everything."""
    _storage(s, "slow_down")


def storage_slow(s: Scenario, rng: random.Random) -> None:
    """Half a second more for each request, for 30 s."""
    s.proxy.stall = 0.5
    _storage(s, "late")


def kill_driver(s: Scenario, rng: random.Random) -> None:
    """The job's own process."""
    assert s.head is not None
    for process in s.head.drivers():
        process.kill()


def lose_cluster(s: Scenario, rng: random.Random) -> None:
    """Head and nodes; another cluster starts at the same addresses."""
    assert s.head is not None
    for host in (s.head, *s.workers):
        host.kill()
    s.net.head(host=s.head)
    for host in s.workers:
        s.net.worker(s.head, host=host)


def restart_dashboard(s: Scenario, rng: random.Random) -> None:
    """Through which the job is followed."""
    assert s.head is not None
    s.head.restart("dashboard/dashboard.py", s.net.folder / "dashboard.log", pause=3)


Strike = Callable[[Scenario, random.Random], None]
FAULTS: tuple[Strike, ...] = (
    kill_worker, hang_worker, kill_node, cut_node, cut_node_briefly, drain_node, storage_away, storage_refuses, storage_slow,
    kill_driver, lose_cluster, restart_dashboard,
)  # fmt: skip


def _storage(s: Scenario, fault: Fault) -> None:
    s.fail_storage(fault)
    time.sleep(30)
    s.fail_storage(None)


def check(soak: Soak, updates: int) -> Handed:
    """That nothing is lost, doubled, or left behind."""
    s = soak.scenario
    assert run_status(s.store) == "finished"
    assert every_update_once(s.store, updates)
    handed = check_samples(s.trace, read_config(s.store), s.worlds())
    wait_for(lambda: not left_running(s), "the end of every worker", 60)
    assert len(Checkpoints(s.store, 9).steps()) == read_config(s.store).run.keep_checkpoints
    return handed


def left_running(s: Scenario) -> list[str]:
    """Processes of the run."""
    hosts: list[Host] = [host for host in (s.head, *s.workers) if host is not None]
    return [str(process) for host in hosts for process in host.trainers() + host.drivers()]


def left_lying(folder: Path) -> list[str]:
    """Files in a folder for temporary ones that stay when the next process has cleared up what killed ones have left."""
    time.sleep(60)  # what is younger might be in use
    script = "from unbraid.trainers.runs.scratch import scratch_folder\nwith scratch_folder():\n    pass"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"TMPDIR": str(folder)}, cwd=ROOT)
    return [str(path) for path in folder.rglob("unbraid-*-*")]
