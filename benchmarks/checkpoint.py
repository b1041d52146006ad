"""What checkpoints cost, how soon a run is back after a fault, and half an hour of faults.

Needs the packed MNIST on the local S3 server (`make demo` leaves it). The parts `faults` and `soak` make hosts of network
namespaces, which needs root and Debian's iproute2; `soak` takes 40 minutes, UNBRAID_SOAK_MINUTES and UNBRAID_SOAK_SEED set
another time and other faults.
"""

import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from itertools import count

import torch

from benchmarks.figures import Figures
from tests.faults.hosts import Host, missing
from tests.faults.scenario import kill_trainers, scenario, stop_trainers
from tests.faults.soak import MOST_SILENCE, Soak, check, left_lying
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.stream.stream import Position
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import open_stream
from unbraid.trainers.runs.checkpoint import Checkpoints, load_system_state, system_state
from unbraid.trainers.runs.checkpoint_writer import CheckpointWriter
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import System, build_system

DATA = "s3://unbraid/mnist"
STORAGE = f"s3://unbraid/bench-checkpoint-{uuid.uuid4().hex[:8]}"
ROUNDS = 6
SMALL, LARGE = "infogan-mnist", "infogan-celeba"
UPDATES = 240
SOAK_MINUTES = float(os.environ.get("UNBRAID_SOAK_MINUTES", "30"))
SOAK_SEED = int(os.environ.get("UNBRAID_SOAK_SEED", "0"))


def fresh(preset: str) -> tuple[SystemConfig, System]:
    config = resolve(preset, [f"data.url={DATA}"])
    return config, build_system(config, torch.device("cpu"), World())


def stall(figures: Figures) -> None:
    """Training of some updates with one checkpoint begun before them, and without one, in turn; all cores train.

    The S3 server of this machine takes its share of the same cores, which one elsewhere does not: a folder shows what is ours.
    """
    config, system = fresh(SMALL)
    with tempfile.TemporaryDirectory() as folder, open_stream(config, World(), Position()) as stream:
        for name, url in (("folder", folder), ("s3_here", f"{STORAGE}/stall")):
            _stall(figures, name, open_store(url, create=True), system, lambda: system.step(next(stream)))


def _stall(figures: Figures, name: str, store: Store, system: System, update: Callable[[], object]) -> None:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    blocked: list[float] = []
    numbers = count(1)
    with CheckpointWriter(Checkpoints(store, keep=2)) as writer:

        def block(saves: bool, updates: int) -> float:
            started = time.perf_counter()
            if saves:
                writer.save(next(numbers), system_state(system))
                blocked.append(time.perf_counter() - started)
            for _ in range(updates):
                update()
            taken = time.perf_counter() - started
            writer.wait()
            return taken

        each = block(False, 5) / 5
        updates = max(round(4 / each), 5)  # longer than a checkpoint is written
        for _ in range(ROUNDS):
            for saves in (False, True):
                seconds[saves].append(block(saves, updates))
        written = writer.status()["checkpoint/seconds"]
    lost = statistics.median(a - b for a, b in zip(seconds[True], seconds[False], strict=True))
    figures.figure(f"{name}.update_seconds", statistics.median(seconds[False]) / updates, "s")
    figures.figure(f"{name}.written_in", written, "s")
    figures.figure(f"{name}.training_blocked_for", statistics.median(blocked), "s")
    figures.figure(f"{name}.stall_seconds", lost, "s")
    figures.figure(f"{name}.stall_share_at_one_a_minute", 100 * lost / 60, "%", "<= 1")


def restore(figures: Figures) -> None:
    """The newest checkpoint from S3 into a system that has just been built."""
    for preset in (SMALL, LARGE):
        _, system = fresh(preset)
        for optimizer in system.optimizers.values():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            optimizer.step()  # so that Adam's moments are there
        store = open_store(f"{STORAGE}/{preset}", create=True)
        Checkpoints(store, keep=1).write(1, system_state(system))
        _, other = fresh(preset)
        started = time.perf_counter()
        state = Checkpoints(store, keep=1).load()
        assert state is not None
        load_system_state(other, state)
        name = preset.replace("-", "_")
        figures.figure(f"{name}_megabytes", store.statistics.bytes / 1e6, "MB", digits=1)
        figures.figure(f"{name}_restored_in", time.perf_counter() - started, "s", "<= 3")


def faults(figures: Figures) -> None:
    """From a fault to the first update of the group that goes on, on two hosts of one core each."""
    with scenario(DATA, f"{STORAGE}/faults") as s:
        s.up(2)
        for name, strike, goal in (
            ("killed_worker", kill_trainers, "<= 30"),
            ("hung_worker", stop_trainers, "<= 30 beyond run.worker_timeout_seconds=8"),
            ("cut_node", Host.cut, None),
        ):
            seconds = s.recover(name, UPDATES, strike, "run.min_workers=1")
            figures.figure(f"back_after_{name}", seconds, "s", goal, digits=1)


def soak(figures: Figures) -> None:
    """A fault of :mod:`tests.faults.soak` every minute."""
    updates = int(SOAK_MINUTES * float(os.environ.get("UNBRAID_SOAK_UPDATES_A_MINUTE", "300")))
    with scenario(DATA, f"{STORAGE}/soak") as s:
        s.up(2)
        strikes = Soak(s, SOAK_SEED, ("run.workers=2", "run.min_workers=1", f"run.updates={updates}"))
        started = time.monotonic()
        strikes.run(60 * SOAK_MINUTES)
        handed = check(strikes, updates)
        figures.figure("soak_minutes", (time.monotonic() - started) / 60, "minutes", digits=1)
        figures.figure("soak_faults", sum(strikes.strikes.values()), "faults", digits=0)
        for name, number in sorted(strikes.strikes.items()):
            figures.figure(f"soak_{name}", number, "times", digits=0)
        figures.figure("soak_group_starts", s.starts(), "starts", digits=0)
        figures.figure("soak_submitted", strikes.submitted, "times", digits=0)
        figures.figure("soak_updates", len(s.worlds()), f"updates of {updates}", "all, each once", digits=0)
        figures.figure("soak_samples", handed.samples, f"samples seen as they should be, of {64 * updates}", "all", digits=0)
        figures.figure(
            "soak_shares_again", handed.again, "workers' shares of a batch, handed out again after a fault", digits=0
        )
        figures.figure("soak_longest_silence", max(strikes.silences), "s", f"< {MOST_SILENCE:.0f}, no hang", digits=1)
        figures.figure("soak_files_left", len(left_lying(s.scratch)), "files", "0", digits=0)


def main() -> None:
    """Print all figures."""
    figures = Figures("checkpoint", f"0; soak {SOAK_SEED}")
    use_local_services()
    for part in (stall, restore, faults, soak):
        if not figures.wants(part.__name__):
            continue
        if part in (faults, soak) and missing() is not None:
            sys.stderr.write(f"{part.__name__} is left out: {missing()}\n")
            continue
        part(figures)


if __name__ == "__main__":
    main()
