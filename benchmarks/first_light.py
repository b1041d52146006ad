"""What an update costs, what the system around it costs, and what two workers cost; each a ratio from one run.

Minutes on two cores; leave the machine alone meanwhile. The end-to-end part needs `unbraid local up` and the packed MNIST
(`make demo` leaves both).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.figures import Figures
from benchmarks.three_step_port import ThreeStepPort
from unbraid.cluster.local.services import use_local_services
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics
from unbraid.trainers.step.distributed import World
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.system import InfoGAN

PRESET = "infogan-mnist-reference"
CPU = torch.device("cpu")
ROUNDS = 15
UPDATES_A_ROUND = 3


def config_of(*overrides: str) -> Config:
    config = resolve(PRESET, ["run.precision=float32", *overrides])
    assert isinstance(config, Config)
    return config


def images(batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"image": torch.randint(0, 256, (batch, 1, 28, 28), dtype=torch.uint8, generator=generator)}


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(UPDATES_A_ROUND):
        work()
    return (time.perf_counter() - started) / UPDATES_A_ROUND


def update_cost(figures: Figures) -> None:
    """Our update against the usual port's on the same networks, and against the FLOPs that the processor could do."""
    config = config_of()
    ours, port = InfoGAN(config, CPU, World()), ThreeStepPort(config, CPU)
    batch = images(config.data.batch)
    size = 1536
    a, b = torch.randn(size, size), torch.randn(size, size)
    for work in (lambda: ours.step(batch), lambda: port.step(batch["image"])):
        work()
    rounds = [  # interleaved, so that a busy moment falls on all
        (seconds_of(lambda: ours.step(batch)), seconds_of(lambda: port.step(batch["image"])), seconds_of(lambda: a @ b))
        for _ in range(ROUNDS)
    ]
    with FlopCounterMode(display=False) as counter:
        ours.step(batch)
    flops = counter.get_total_flops()
    peak = statistics.median(2 * size**3 / matrix for _, _, matrix in rounds)
    mine = statistics.median(r[0] for r in rounds)
    figures.figure("update_ratio_to_three_step_port", statistics.median(r[0] / r[1] for r in rounds), "x", "<= 0.58")
    figures.figure("update_seconds", mine, "s", digits=4)
    figures.figure("update_flops", flops / 1e9, "GFLOP", digits=1)
    figures.figure("update_share_of_matmul_peak", 100 * flops / mine / peak, f"% of {peak / 1e9:.0f} GFLOP/s", digits=1)


def end_to_end(figures: Figures) -> None:
    """`unbraid train` through Ray Train, one worker, S3 stream, checkpoints on, against a bare loop on tensors in memory."""
    use_local_services()
    updates, checkpoint_every = 400, 100
    before = images_per_second_bare(updates // 4)
    with tempfile.TemporaryDirectory() as storage:
        command = [
            sys.executable, "-m", "unbraid.cluster.cli", "train", PRESET, "run.workers=1", f"run.cpus={os.cpu_count()}",
            f"run.updates={updates}", "run.precision=float32", f"run.checkpoint_every={checkpoint_every}",
            "run.preview_every=0", "run.log_every=20", "run.name=first-light", f"run.storage={storage}",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=sys.stderr)
        lines = [line for line in read_metrics(open_run(storage, "first-light")) if "loss/d" in line]
    after = images_per_second_bare(updates // 4)
    # from the second line on: the first holds the warm-up, which the bare loop leaves out too
    whole = (lines[-1]["step"] - lines[0]["step"]) * 128 / (lines[-1]["time"] - lines[0]["time"])
    figures.figure("end_to_end_ratio_to_bare_loop", whole / statistics.mean([before, after]), "x", ">= 0.97")


def images_per_second_bare(updates: int) -> float:
    """The same networks and update on tensors in memory, in a process of its own: no Ray, stream, checkpoints, logs."""
    script = (
        "import time, torch; from benchmarks.first_light import *;"
        f"torch.set_num_threads({os.cpu_count()}); c = config_of(); s = InfoGAN(c, CPU, World()); b = images(128)\n"
        "for _ in range(20): s.step(b)\n"
        f"t = time.perf_counter()\nfor _ in range({updates}): s.step(b)\n"
        f"print(128 * {updates} / (time.perf_counter() - t))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout)


def worker(rank: int, folder: str) -> None:
    """One of two processes with a thread each: in turn sharing gradients (``talking``), not sharing them, and talking again."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    config = config_of("data.batch=256", "run.workers=2")
    talking, apart = InfoGAN(config, CPU, World(rank, 2)), InfoGAN(config, CPU, World())
    batch = images(128)

    def seconds(system: InfoGAN) -> float:
        dist.barrier()
        started = time.perf_counter()
        for _ in range(UPDATES_A_ROUND):
            system.step(batch)
        dist.barrier()
        return time.perf_counter() - started

    for system in (talking, apart):
        seconds(system)
    rounds = [(seconds(talking), seconds(apart), seconds(talking)) for _ in range(ROUNDS)]
    if rank == 0:
        ratios = [apart_seconds / statistics.mean([before, after]) for before, apart_seconds, after in rounds]
        speed = UPDATES_A_ROUND * 256 / statistics.median(before for before, _, _ in rounds)
        Path(folder, "result").write_text(json.dumps([statistics.median(ratios), speed]))
    dist.destroy_process_group()


def two_workers(figures: Figures) -> None:
    """Two processes of one thread, batch 128 each: talking against not talking, and against one process of two threads."""
    before = images_per_second_bare(40)
    with tempfile.TemporaryDirectory() as folder:
        start_processes(worker, args=(folder,), nprocs=2)
        to_apart, talking = json.loads(Path(folder, "result").read_text())
    one = statistics.mean([before, images_per_second_bare(40)])
    figures.figure("two_workers_ratio_to_not_talking", to_apart, "x", ">= 0.93")
    figures.figure("two_workers_ratio_to_one_of_two_threads", talking / one, "x", ">= 1")


def starting(figures: Figures) -> None:
    """Seconds from the command to its first answer."""
    for name, arguments in (
        ("help", ["--help"]),
        ("train_help", ["train", "--help"]),
        ("config_error", ["train", "infogan-mnist", "loss.info_categrical=1"]),
    ):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "unbraid.cluster.cli", *arguments], capture_output=True, check=False)
        figures.figure(f"seconds_to_{name}", time.perf_counter() - started, "s", "well under 1", digits=2)
    address = use_local_services()
    for name, extra, goal in (("debug", ["--debug"], "<= 6"), ("ray", [], "<= 20")):
        with tempfile.TemporaryDirectory() as storage:
            launched = time.time()
            command = [
                sys.executable, "-m", "unbraid.cluster.cli", "train", PRESET, "run.updates=1", f"run.storage={storage}",
                "run.name=start", "run.log_every=1", *extra,
            ]  # fmt: skip
            subprocess.run(command, check=True, stdout=sys.stderr)
            first = next(line["time"] for line in read_metrics(open_run(storage, "start")) if line["step"] == 1)
            figures.figure(f"seconds_to_first_update_{name}", first - launched, "s", goal, digits=1)
    if address is not None:
        figures.figure("seconds_of_it_that_are_rays", seconds_of_ray_alone(address), "s", digits=1)


def seconds_of_ray_alone(address: str) -> float:
    """From a fresh process to the first line of an *empty* Ray Train worker on the same cluster: nothing of ours is in it."""
    script = (
        "import sys, time, ray\n"
        "from ray.train import RunConfig, ScalingConfig\n"
        "from ray.train.torch import TorchTrainer\n"
        "def work(settings): open(settings['file'], 'w').write(str(time.time()))\n"
        "ray.init(address=sys.argv[2], logging_level='WARNING')\n"
        "TorchTrainer(work, train_loop_config={'file': sys.argv[1] + '/now'}, scaling_config=ScalingConfig(num_workers=1),\n"
        "             run_config=RunConfig(storage_path=sys.argv[1])).fit()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        launched = time.time()
        subprocess.run([sys.executable, "-c", script, folder, address], check=True, stdout=sys.stderr)
        return float(Path(folder, "now").read_text()) - launched


def main() -> None:
    figures = Figures("first_light", "0")
    for name, part in (("update", update_cost), ("workers", two_workers), ("end_to_end", end_to_end), ("start", starting)):
        if figures.wants(name):
            part(figures)


if __name__ == "__main__":
    main()
