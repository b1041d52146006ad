"""What CDD's parts know of coloured digits, each of its losses left out in turn, and what full size costs.

About ten minutes a run on one thread, ten runs; `benchmarks.runs` says how they are resumed. Needs `unbraid local up`, and
MNIST's files where `unbraid data fetch mnist` puts them; packs its data set.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.figures import Figures
from benchmarks.runs import STORAGE, run_to_end, train_few
from unbraid.cluster.commands.data import RAW_FOLDER
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.mnist_cdcb import read_mnist_cdcb
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split
from unbraid.models.cdd.specs import DOMAINS
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.measures.flops import FlopCounter
from unbraid.trainers.measures.linear_probe import Probed, label_accuracy
from unbraid.trainers.runs.checkpoint import expected_bytes
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.cdd.measures import encoded

SEEDS = (0, 1, 2)
PRESET = "cdd-mnist-cdcb-small"
ABLATIONS = (
    "without-shared", "without-latent", "without-prior", "without-image", "without-exclusive", "without-autoencoder", "norm",
)  # fmt: skip
META, CPU = torch.device("meta"), torch.device("cpu")
FEW_UPDATES = 20
GOALS = {
    "retrieval/shared_recall_1_x_to_y": ("shared_recall_x_to_y", "of 1,000 held-out pairs", ">= 0.95"),
    "retrieval/shared_recall_1_y_to_x": ("shared_recall_y_to_x", "of 1,000 held-out pairs", ">= 0.95"),
    "retrieval/exclusive_recall_1_x_to_y": ("exclusive_recall_x_to_y", "of 1,000 held-out pairs", "<= 0.02"),
    "retrieval/exclusive_recall_1_y_to_x": ("exclusive_recall_y_to_x", "of 1,000 held-out pairs", "<= 0.02"),
    "retrieval/pixels_recall_1": ("pixels_recall", "of 1,000 held-out pairs, both ways", None),
    "probe/label_from_shared": ("label_from_shared", "accuracy, S with training's noise", ">= 0.95"),
    "probe_exact/label_from_shared": ("label_from_shared_exact", "accuracy, S without noise", ">= 0.95"),
    "probe/label_from_exclusive_x": ("label_from_exclusive_x", "accuracy, E with training's noise", "<= 0.20"),
    "probe/label_from_exclusive_y": ("label_from_exclusive_y", "accuracy, E with training's noise", "<= 0.20"),
    "probe_exact/label_from_exclusive": ("label_from_exclusive_exact", "accuracy, E without noise", "<= 0.20"),
    "probe/colour_from_exclusive_x": ("colour_from_exclusive_x", "R2, E with training's noise", ">= 0.9"),
    "probe/colour_from_exclusive_y": ("colour_from_exclusive_y", "R2, E with training's noise", ">= 0.9"),
    "probe_exact/colour_from_exclusive_x": ("colour_from_exclusive_x_exact", "R2, E without noise", ">= 0.9"),
    "probe_exact/colour_from_exclusive_y": ("colour_from_exclusive_y_exact", "R2, E without noise", ">= 0.9"),
    "probe/colour_from_shared_x": ("colour_from_shared_x", "R2, S with training's noise", "<= 0.1"),
    "probe/colour_from_shared_y": ("colour_from_shared_y", "R2, S with training's noise", "<= 0.1"),
    "probe_exact/colour_from_shared": ("colour_from_shared_exact", "R2, S without noise", "<= 0.1"),
    "transfer/colour_error_x": ("transfer_colour_error_x", "of RGB in 0 to 1, on the digit", "<= 0.1"),
    "transfer/colour_error_y": ("transfer_colour_error_y", "of RGB in 0 to 1, on the background", "<= 0.1"),
    "transfer/label_kept_x": ("transfer_label_kept_x", "of digits", ">= 0.95"),
    "transfer/label_kept_y": ("transfer_label_kept_y", "of digits", ">= 0.95"),
    "transfer/label_read": ("label_read", "of real digits, by the same classifier", None),
    "rebuilt/l1": ("rebuilt_l1", "of images in 0 to 1, from the other's S", None),
    "rebuilt/ssim": ("rebuilt_ssim", "from the other's S", None),
    "diversity/laplacian": ("diversity", "Laplacian distance of two translations", None),
    "diversity/real_laplacian": ("diversity_real", "Laplacian distance of two real images", None),
}
"""Of each measure: the figure's name, its unit, and the goal."""
COMPARED = (
    "retrieval/shared_recall_1", "retrieval/exclusive_recall_1", "probe/label_from_shared", "probe/label_from_exclusive",
    "probe/colour_from_shared", "probe/colour_from_exclusive", "transfer/colour_error_x", "transfer/colour_error_y",
    "transfer/label_kept", "rebuilt/l1", "diversity/laplacian",
)  # fmt: skip


def learning(figures: Figures) -> None:
    """Every goal, seed by seed."""
    for seed in SEEDS:
        name = f"{PRESET}-seed{seed}"
        store = run_to_end(PRESET, name, f"run.seed={seed}")
        if store is None:
            continue
        scores = read_run(store)["evaluation"]
        for measure, (figure, unit, goal) in GOALS.items():
            figures.figure(f"seed{seed}.{figure}", scores[measure], unit, goal)
        if seed == SEEDS[0]:
            label_from_all(figures, name, f"seed{seed}")


def label_from_all(figures: Figures, run: str, name: str) -> None:
    """The class from S without noise, fitted to all training pairs and scored on all held-out ones."""
    model, config = open_model(run, STORAGE, CPU, ("cdd",))
    splits = [config.data.split, config.data.reported_split]
    known, seen = (encoded(model, read_split(config.data.url, split, 500), World()) for split in splits)
    for d in DOMAINS:
        fitted, scored = (Probed(parts[d].shared, pairs.label) for pairs, parts in (known, seen) if pairs.label is not None)
        figures.figure(
            f"{name}.label_from_shared_{d}_all", label_accuracy(fitted, scored), "accuracy, 60,000 fitted", ">= 0.95"
        )


def ablations(figures: Figures) -> None:
    """The same run without each loss, seed 0."""
    figures_of: dict[str, Mapping[str, float]] = {}
    for ablation in ("", *(f"-{name}" for name in ABLATIONS)):
        store = run_to_end(f"{PRESET}{ablation}", f"{PRESET}{ablation}-seed0")
        if store is not None:
            figures_of[ablation.removeprefix("-") or "all"] = read_run(store)["evaluation"]
    for measure in COMPARED:
        for name, scores in figures_of.items():
            figures.figure(f"{name}.{measure.replace('/', '_')}", scores[measure], "seed 0")


def cost(figures: Figures) -> None:
    """Parameters, checkpoint and arithmetic, so that runs can be planned."""
    for preset in (PRESET, "cdd-mnist-cdcb"):
        config = resolve(preset)
        system = build_system(config, META, World())
        assert config.image_shape is not None
        images = torch.empty(config.data.batch, *config.image_shape, dtype=torch.uint8, device=META)
        with FlopCounter() as counter:
            system.step(dict.fromkeys(DOMAINS, images))
        for name, optimizer in system.optimizers.items():
            count = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
            figures.figure(f"{preset}.parameters_{name}", count / 1e6, "million")
        figures.figure(f"{preset}.state", expected_bytes(system) / 1e9, "GB of weights and Adam's moments, averages included")
        figures.figure(f"{preset}.gflops", counter.flops / 1e9, f"an update of batch {config.data.batch}", digits=1)
        whole = counter.flops * config.run.updates / 1e12
        figures.figure(f"{preset}.tflops", whole, f"in {config.run.updates:,} updates", digits=1)


def full_size(figures: Figures) -> None:
    """Twenty real updates of mnist-cdcb at 256x256, batch 1, on this CPU."""
    with TemporaryDirectory() as folder:
        source = read_mnist_cdcb(RAW_FOLDER / "mnist", "set", size=(256, 256))
        few = replace(source, splits={split: items[:FEW_UPDATES] for split, items in source.splits.items()}, is_computed=False)
        pack(few, open_store(f"{folder}/set", create=True), lambda text: None)
        config = resolve("cdd-mnist-cdcb", [f"data.url={folder}/set", "data.batch=1", "data.lanes=1", "data.window=16"])
        losses, seconds = train_few(config, FEW_UPDATES, "loss/autoencoder")
    figures.trend("full_size.autoencoder", losses)
    figures.figure("full_size.seconds_an_update", seconds, "on this CPU at batch 1", digits=2)


def main() -> None:
    figures = Figures("cdd", ", ".join(map(str, SEEDS)))
    use_local_services()
    parts: dict[str, Callable[[Figures], None]] = {
        "cost": cost, "full_size": full_size, "learning": learning, "ablations": ablations,
    }  # fmt: skip
    subprocess.run([sys.executable, "-m", "unbraid.cluster.cli", "data", "pack", "mnist-cdcb"], check=True, stdout=sys.stderr)
    for name, part in parts.items():
        if figures.wants(name):
            part(figures)


if __name__ == "__main__":
    Path(STORAGE).mkdir(parents=True, exist_ok=True)
    main()
