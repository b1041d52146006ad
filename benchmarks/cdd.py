"""What CDD's parts know of coloured digits, each of its losses left out in turn, a baseline, and what full size costs.

About fifteen minutes a run of CDD on one thread, 33 runs, and three minutes a run of pix2pix, 6 runs; `benchmarks.runs` says
how they are resumed. Needs `unbraid local up`, and MNIST's files where `unbraid data fetch mnist` puts them; packs its data
sets.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.figures import Figures
from benchmarks.runs import STORAGE, run_to_end, train_few, trains
from unbraid.cluster.commands.data import RAW_FOLDER
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.mnist_cdcb import read_mnist_cdcb
from unbraid.datasets.store import open_store
from unbraid.models.domains import DOMAINS
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.measures.flops import FlopCounter
from unbraid.trainers.runs.checkpoint import expected_bytes
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

SEEDS = (0, 1, 2)
PRESET = "cdd-mnist-cdcb-small"
ABLATIONS = (
    "without-shared", "without-latent", "without-prior", "without-image", "without-exclusive", "without-reversal",
    "without-autoencoder", "norm",
)  # fmt: skip
BASELINES = {"pix2pix_x_to_y": "pix2pix-mnist-cdcb-small", "pix2pix_y_to_x": "pix2pix-mnist-cdcb-small-backwards"}
"""Presets of pix2pix by the first part of their figures' names; a run translates in one direction."""
META = torch.device("meta")
FEW_UPDATES = 20
GOALS = {
    "retrieval/shared_recall_1_x_to_y": ("shared_recall_x_to_y", "of 1,000 held-out pairs", ">= 0.99"),
    "retrieval/shared_recall_1_y_to_x": ("shared_recall_y_to_x", "of 1,000 held-out pairs", ">= 0.99"),
    "retrieval/edges_recall_1": ("edges_recall", "of 1,000 held-out pairs, by an untrained filter", None),
    "retrieval/pixels_recall_1": ("pixels_recall", "of 1,000 held-out pairs", None),
    "retrieval/exclusive_recall_1": ("exclusive_recall", "of 1,000 held-out pairs", "<= 0.02"),
    "retrieval/shared_map": ("shared_map", "mean average precision by class", None),
    "retrieval/edges_map": ("edges_map", "mean average precision by class, by an untrained filter", None),
    "probe/label_from_shared": ("label_from_shared", "accuracy of a linear reader, through the noise", None),
    "probe/label_nonlinear_from_shared": ("label_nonlinear_from_shared", "accuracy, through the noise", ">= 0.97"),
    "probe/label_nonlinear_from_exclusive_x": ("label_nonlinear_from_exclusive_x", "accuracy, through the noise", "<= 0.20"),
    "probe/label_nonlinear_from_exclusive_y": ("label_nonlinear_from_exclusive_y", "accuracy, through the noise", "<= 0.20"),
    "probe/colour_from_exclusive_x": ("colour_from_exclusive_x", "R2, through the noise", ">= 0.9"),
    "probe/colour_from_exclusive_y": ("colour_from_exclusive_y", "R2, through the noise", ">= 0.9"),
    "probe/colour_from_shared_x": ("colour_from_shared_x", "R2, through the noise", "<= 0.1"),
    "probe/colour_from_shared_y": ("colour_from_shared_y", "R2, through the noise", "<= 0.1"),
    "drawn/deviation_x": ("deviation_x", "of E's numbers; the prior's is 1", "0.9 to 1.1"),
    "drawn/deviation_y": ("deviation_y", "of E's numbers; the prior's is 1", "0.9 to 1.1"),
    "drawn/checkerboard": ("checkerboard_drawn", "Nyquist energy by drawn E, made / real", "<= 1.5"),
    "transferred/checkerboard": ("checkerboard_transferred", "Nyquist energy by real E, made / real", None),
    "diversity/ratio_to_real": ("diversity_to_real", "Laplacian distance of two translations / of two real images", ">= 0.95"),
    "diversity/ratio_to_transferred": ("diversity_to_transferred", "the same / of two translations by real E", ">= 0.95"),
    "transfer/colour_error_x": ("transfer_colour_error_x", "of RGB in 0 to 1, on the digit", "<= 0.1"),
    "transfer/colour_error_y": ("transfer_colour_error_y", "of RGB in 0 to 1, on the background", "<= 0.1"),
    "transfer/label_kept_x": ("transfer_label_kept_x", "of digits", ">= 0.95"),
    "transfer/label_kept_y": ("transfer_label_kept_y", "of digits", ">= 0.95"),
    "transfer/label_read": ("label_read", "of real digits, by the same classifier", None),
    "rebuilt/l1": ("rebuilt_l1", "of images in 0 to 1, from the other's S", None),
    "rebuilt/ssim": ("rebuilt_ssim", "from the other's S", None),
}
"""Of each measure: the figure's name, its unit, and the goal. All are of the test split, at the last update."""
VARIANTS = {"affine": ("retrieval/shared_recall_1", ">= 0.90"), "class": ("retrieval/shared_map", None)}
"""Of each further set of pairs: the measure by which it is judged, and the goal."""
COMPARED = (
    "retrieval/shared_recall_1", "probe/label_nonlinear_from_shared", "probe/label_nonlinear_from_exclusive",
    "probe/colour_from_shared", "probe/colour_from_exclusive", "drawn/deviation", "drawn/checkerboard",
    "diversity/ratio_to_real",
    "transfer/colour_error_x", "transfer/colour_error_y", "transfer/label_kept", "rebuilt/l1",
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


def variants(figures: Figures) -> None:
    """Pairs whose pixels do not agree, where retrieval tells models and filters apart, seed by seed."""
    for variant, (measure, goal) in VARIANTS.items():
        for seed in SEEDS:
            url = f"data.url=s3://unbraid/mnist-cdcb-{variant}-32x32"
            store = run_to_end(PRESET, f"{PRESET}-{variant}-seed{seed}", f"run.seed={seed}", url)
            if store is None:
                continue
            scores = read_run(store)["evaluation"]
            for name in (
                "retrieval/shared_recall_1",
                "retrieval/edges_recall_1",
                "retrieval/shared_map",
                "retrieval/edges_map",
            ):
                figures.figure(
                    f"{variant}.seed{seed}.{name.replace('/', '_')}", scores[name], "", goal if name == measure else None
                )


def ablations(figures: Figures) -> None:
    """The same run without each loss: the mean over seeds, and the deviation between them."""
    for ablation in ("", *(f"-{name}" for name in ABLATIONS)):
        over_seeds(figures, f"{PRESET}{ablation}", ablation.removeprefix("-") or "all", COMPARED)


def baselines(figures: Figures) -> None:
    """Pix2pix of equal size, in either direction, on the same pairs: all its measures; and both sizes."""
    names = {PRESET: ("encoders.x.", "decoders.y."), BASELINES["pix2pix_x_to_y"]: ("",)}
    for (preset, prefixes), network in zip(names.items(), ("translators", "generator"), strict=True):
        translator = build_system(resolve(preset), META, World()).networks[network]
        count = sum(p.numel() for name, p in translator.named_parameters() if name.startswith(prefixes))
        figures.figure(f"{preset}.parameters_x_to_y", count / 1e6, "million, of what translates x to y")
    for name, preset in BASELINES.items():
        over_seeds(figures, preset, name, tuple(resolve(preset).measures()))


def over_seeds(figures: Figures, preset: str, name: str, measures: Sequence[str]) -> None:
    """The mean over seeds of each measure, and the range, as ``NAME.MEASURE``."""
    found: list[Mapping[str, float]] = []
    for seed in SEEDS:
        store = run_to_end(preset, f"{preset}-seed{seed}", f"run.seed={seed}")
        found += [read_run(store)["evaluation"]] if store is not None else []
    for measure in measures if found else ():
        values = [scores[measure] for scores in found]
        spread = f"mean of {len(values)} seeds, {min(values):.3f} to {max(values):.3f}"
        figures.figure(f"{name}.{measure.replace('/', '_')}", sum(values) / len(values), spread)


def cost(figures: Figures) -> None:
    """Parameters, checkpoint and arithmetic, so that runs can be planned."""
    for preset in (PRESET, "cdd-mnist-cdcb", BASELINES["pix2pix_x_to_y"]):
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
        "cost": cost, "full_size": full_size, "learning": learning, "variants": variants, "ablations": ablations,
        "baselines": baselines,
    }  # fmt: skip
    for kind in ("mnist-cdcb", *(f"mnist-cdcb-{variant}" for variant in VARIANTS)) if trains() else ():
        subprocess.run([sys.executable, "-m", "unbraid.cluster.cli", "data", "pack", kind], check=True, stdout=sys.stderr)
    for name, part in parts.items():
        if figures.wants(name):
            part(figures)


if __name__ == "__main__":
    Path(STORAGE).mkdir(parents=True, exist_ok=True)
    main()
