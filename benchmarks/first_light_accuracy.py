"""What InfoGAN learns on MNIST: code accuracy over three seeds, and L_I against the plain GAN's.

Hours on two cores. Needs `unbraid local up` and the packed set (make demo leaves both). Every run is one of `unbraid
train --debug`, with checkpoints: stopped and repeated, the benchmark goes on where it was, and finished runs are only read.
UNBRAID_BENCH_TRAIN=0 trains nothing and tells what is finished; UNBRAID_BENCH_CPUS is the threads of a run.
"""

import statistics

from benchmarks.figures import Figures
from benchmarks.runs import STORAGE, run_to_end
from unbraid.datasets.store import Store
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_config, read_metrics, read_run

SEEDS = (0, 1, 2)
EVALUATE_EVERY = 500
ABLATION_UPDATES = 1500
"""The plain GAN is trained this far, and InfoGAN read at the same update."""


def trained(preset: str, seed: int) -> Store | None:
    """The finished run of a preset, in float32."""
    budget = [f"run.updates={ABLATION_UPDATES}"] if preset.endswith("plain") else []
    every = f"run.evaluate_every={EVALUATE_EVERY}"
    return run_to_end(preset, f"{preset}-seed{seed}", f"run.seed={seed}", every, "run.precision=float32", *budget)


def accuracies(figures: Figures, preset: str, goal: float) -> None:
    """Code accuracy on the 10,000 test digits at the end of each seed's run, and their median."""
    found = []
    for seed in SEEDS:
        store = trained(preset, seed)
        if store is None:
            continue
        found.append(float(read_run(store)["evaluation"]["code/accuracy"]))
        precision = read_config(store).run.precision
        figures.figure(f"{preset}.seed{seed}_accuracy", found[-1], f"of test digits, {precision}", digits=4)
    if found:
        unit = f"of test digits, {len(found)} seeds"
        figures.figure(f"{preset}.median_accuracy", statistics.median(found), unit, f">= {goal}", digits=4)


def ablation(figures: Figures) -> None:
    """L_I of the categorical code in nats, measured at the same update of InfoGAN and of a plain GAN with the same Q."""
    name = "evaluation/info/categorical_0_nats"
    for preset, expected in (("infogan-mnist-reference", "near 2.303"), ("infogan-mnist-plain", "clearly lower")):
        trained(preset, 0)
        lines = read_metrics(open_run(STORAGE, f"{preset}-seed0"))
        for value in (float(line[name]) for line in lines if line["step"] == ABLATION_UPDATES and name in line):
            figures.figure(f"ablation.{preset}.info_categorical", value, f"nats at {ABLATION_UPDATES} updates", expected)


def variances(figures: Figures) -> None:
    """A fixed against a learnt variance of the continuous codes: what Q reads of them, and what that costs the categorical."""
    measures = ("code/accuracy", "info/continuous_0_explained", "info/continuous_1_explained", "info/continuous_0_share")
    for kind, preset in (("fixed", "infogan-mnist-small"), ("learnt", "infogan-mnist-small-learnt-variance")):
        runs = [store for store in (trained(preset, seed) for seed in SEEDS) if store is not None]
        for measure in measures if runs else ():
            found = [float(read_run(store)["evaluation"][measure]) for store in runs]
            unit = f"median of {len(found)} seeds, {min(found):.3f} to {max(found):.3f}"
            figures.figure(f"variance.{kind}_{measure.split('/')[1]}", statistics.median(found), unit)


def main() -> None:
    figures = Figures("first_light_accuracy", ", ".join(map(str, SEEDS)))
    for preset, goal in (("infogan-mnist", 0.94), ("infogan-mnist-reference", 0.80)):
        if figures.wants(preset):
            accuracies(figures, preset, goal)
    if figures.wants("ablation"):
        ablation(figures)
    if figures.wants("variance"):
        variances(figures)


if __name__ == "__main__":
    main()
