"""Long runs that benchmarks read: each is an `unbraid train --debug`, resumed where it was, only read once it is finished."""

import os
import subprocess
import sys
import time

import torch

from unbraid.datasets.store import Store
from unbraid.datasets.stream.stream import Position
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import open_stream
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import run_status
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

STORAGE = "runs/benchmarks"


def trains() -> bool:
    """Whether runs that are not finished may be trained, and sets packed for them."""
    return os.environ.get("UNBRAID_BENCH_TRAIN") != "0"


def train(preset: str, name: str, *overrides: str) -> bool:
    """Train a preset, or a pipeline, under a name, on from where it was; whether that was allowed.

    UNBRAID_BENCH_TRAIN=0 forbids it; UNBRAID_BENCH_CPUS is the threads of a run.
    """
    if not trains():
        return False
    cpus = os.environ.get("UNBRAID_BENCH_CPUS", "0")
    command = [
        sys.executable, "-m", "unbraid.cluster.cli", "train", preset, "--debug", f"run.name={name}", f"run.storage={STORAGE}",
        "run.workers=1", f"run.cpus={cpus}", *overrides,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=sys.stderr)
    return True


def run_to_end(preset: str, name: str, *overrides: str) -> Store | None:
    """The finished run ``name`` of a preset, trained first if it is not there yet; None where that is not allowed."""
    store = open_run(STORAGE, name)
    return store if run_status(store) == "finished" or train(preset, name, *overrides) else None


def train_few(config: SystemConfig, updates: int, loss: str) -> tuple[list[float], float]:
    """Some updates of a fresh system on this CPU.

    Returns:
        The loss of each, and seconds an update.
    """
    system = build_system(config, torch.device("cpu"), World())
    started = time.perf_counter()
    with open_stream(config, World(), Position()) as stream:
        losses = [system.step(next(stream))[loss].item() for _ in range(updates)]
    return losses, (time.perf_counter() - started) / updates
