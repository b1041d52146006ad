"""What InfoGAN learns on MNIST: code accuracy over three seeds, and L_I against the plain GAN's.

Hours on two cores. Needs `unbraid local up` and the packed set (make demo leaves both). Every run is one of `unbraid
train --debug`, with checkpoints: stopped and repeated, the benchmark goes on where it was, and finished runs are only read.
"""

import os
import statistics
import subprocess
import sys

from benchmarks.figures import Figures
from datasets.store import Store
from trainers.record import open_run, read_config, read_metrics, read_run, run_status

STORAGE = "runs/benchmarks"
SEEDS = (0, 1, 2)
EVALUATE_EVERY = 500
ABLATION_UPDATES = 1500
"""The plain GAN is trained this far, and InfoGAN read at the same update."""


def run_to_end(preset: str, seed: int) -> Store:
    """The finished run of a preset; trained first, or trained on, if it is not there yet."""
    name = f"{preset}-seed{seed}"
    store = open_run(STORAGE, name)
    if run_status(store) != "finished":
        cpus = os.environ.get("UNBRAID_BENCH_CPUS", "0")
        command = [
            sys.executable, "-m", "cluster.cli", "train", preset, "--debug", f"run.seed={seed}", f"run.name={name}",
            f"run.storage={STORAGE}", "run.workers=1", f"run.cpus={cpus}", f"run.evaluate_every={EVALUATE_EVERY}",
            "run.precision=float32",
        ]  # fmt: skip
        if preset.endswith("plain"):
            command.append(f"run.updates={ABLATION_UPDATES}")
        subprocess.run(command, check=True, stdout=sys.stderr)
    return store


def accuracy(preset: str, seed: int) -> float:
    """Code accuracy on the 10,000 test digits at the end of a run."""
    scores: dict[str, float] = read_run(run_to_end(preset, seed))["evaluation"]
    return scores["code/accuracy"]


def information_at(preset: str, seed: int, update: int) -> float:
    """L_I of the categorical code in nats as measured at one update of a run."""
    name = "evaluation/info/categorical_0_nats"
    lines = read_metrics(open_run(STORAGE, f"{preset}-seed{seed}"))
    return next(float(line[name]) for line in lines if line["step"] == update and name in line)


def main() -> None:
    figures = Figures("first_light_accuracy", ", ".join(map(str, SEEDS)))
    for preset, goal in (("infogan-mnist", 0.94), ("infogan-mnist-reference", 0.80)):
        if not figures.wants(preset):
            continue
        found = []
        for seed in SEEDS:
            found.append(accuracy(preset, seed))
            precision = read_config(open_run(STORAGE, f"{preset}-seed{seed}")).run.precision
            figures.figure(f"{preset}.seed{seed}_accuracy", found[-1], f"of test digits, {precision}", digits=4)
        figures.figure(f"{preset}.median_accuracy", statistics.median(found), "of test digits", f">= {goal}", digits=4)
    if figures.wants("ablation"):
        for preset, expected in (("infogan-mnist-reference", "near 2.303"), ("infogan-mnist-plain", "clearly lower")):
            run_to_end(preset, 0)
            value = information_at(preset, 0, ABLATION_UPDATES)
            figures.figure(f"ablation.{preset}.info_categorical", value, "nats", expected)


if __name__ == "__main__":
    main()
