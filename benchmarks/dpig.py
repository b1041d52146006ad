"""What DPIG learns on people whose factors are known, against controls without factors; and what full size costs.

Two hours and a half on two cores; `benchmarks.runs` says how runs are resumed. Needs `unbraid local up`; makes its data set.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.figures import Figures
from benchmarks.runs import STORAGE, run_to_end, train, train_few
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.synthetic.people.population import CAMERA, Population
from unbraid.models.dpig.generator import TiledConvolution
from unbraid.models.dpig.pose import KEYPOINTS
from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.measures.flops import FlopCounter
from unbraid.trainers.runs.checkpoint import expected_bytes
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_metrics, read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

SEEDS = (0,)
META, CPU = torch.device("meta"), torch.device("cpu")
EVALUATE_EVERY = 2500
DRAWN = 400
FEW_UPDATES = 20
CONTROLS = ("plain-encoder", "plain-decoder", "plain")
"""Presets ``dpig-people-small-appearance-…``: without factors in the encoder, in the decoder, in both."""
EMBEDDING_GOALS = {
    "two_sample": "<= 0.60 and below the Gaussian's",
    "coverage": ">= 0.8 and above the Gaussian's",
    "precision": None,
    "recall": None,
    "density": None,
    "frechet": None,
}
"""Measures of drawn embeddings, and what foreground and background shall reach."""


def stage_one(figures: Figures, seed: int) -> None:
    """Quality on held-out identities, what exchanging a factor changes, and leakage against each control's."""
    settings = (f"run.seed={seed}", f"run.evaluate_every={EVALUATE_EVERY}")
    train("dpig-people-small", f"dpig-people-small-seed{seed}", *settings)
    run_name = f"dpig-people-small-seed{seed}-appearance"
    runs = {kind: run_to_end(f"dpig-people-small-appearance-{kind}", f"{run_name}-{kind}", *settings) for kind in CONTROLS}
    name = f"seed{seed}"
    store = open_run(STORAGE, run_name)
    ours = read_run(store).get("evaluation")
    if not ours:
        return
    figures.figure(f"{name}.ssim", ours["rebuilt/ssim"], "on held-out identities", ">= 0.80")
    figures.trend(f"{name}.l1", [line["loss/l1"] for line in read_metrics(store) if "loss/l1" in line])
    for factor in ("background", "foreground"):
        figures.figure(f"{name}.swap_{factor}_ratio", ours[f"swap/{factor}_ratio"], "x, own side of the coarse mask", ">= 5")
        figures.figure(f"{name}.swap_{factor}_true_ratio", ours[f"truth/{factor}_ratio"], "x, own side of the true silhouette")
    for measure in ("transfer/ssim", "transfer/mask_ssim", "transfer/l1", "transfer/psnr"):
        figures.figure(f"{name}.{measure.replace('/', '_')}", ours[measure], "pose-guided pairs")
    for row in FACTORS:
        for column in FACTORS:
            figures.figure(f"{name}.{row}_on_{column}", ours[f"leakage/{row}_on_{column}"], "of the true change")
    figures.figure(f"{name}.off_diagonal", ours["leakage/off_diagonal"], "mean leak")
    for kind, control in runs.items():
        if control is not None:
            compare_leakage(figures, f"{name}.{kind.replace('-', '_')}", ours, read_run(control)["evaluation"])


def compare_leakage(figures: Figures, name: str, ours: Mapping[str, float], control: Mapping[str, float]) -> None:
    """Leakage as a share of a control's, and the control's own figures."""
    figures.figure(f"{name}_off_diagonal", control["leakage/off_diagonal"], "mean leak of this control")
    ratio = ours["leakage/off_diagonal"] / control["leakage/off_diagonal"]
    figures.figure(f"{name}_leakage_ratio", ratio, "x, ours to this control's", "<= 0.5")
    figures.figure(f"{name}_ssim", control["rebuilt/ssim"], "of this control")


def poses_and_mappings(figures: Figures, seed: int) -> None:
    """The pose auto-encoder on held-out poses, and what stage II draws."""
    name = f"seed{seed}"
    pose = read_run(open_run(STORAGE, f"dpig-people-small-seed{seed}-pose")).get("evaluation")
    if pose:
        figures.figure(f"{name}.keypoint_error", pose["keypoint/error_percent"], "% of the height", "< 2")
    store = open_run(STORAGE, f"dpig-people-small-seed{seed}-mapping")
    mapping = read_run(store).get("evaluation")
    if not mapping:
        return
    sampled, fitted, real = (mapping[f"plausible/{whose}_percent"] for whose in ("sampled", "gaussian", "real"))
    text = f"% of sampled poses, {fitted:.1f} of the Gaussian's, {real:.1f} of real ones"
    figures.figure(f"{name}.plausible_poses", sampled, text, ">= 95")
    lowest, highest = mapping["variety/pose_lowest"], mapping["variety/pose_highest"]
    text = f"x real poses' deviation, mean over joints; single joints {lowest:.3f} to {highest:.3f}"
    figures.figure(f"{name}.variety_of_poses", mapping["variety/pose_ratio"], text, "0.9 to 1.1")
    lines = read_metrics(store)
    for factor in FACTORS:
        distances = [line[f"wasserstein/{factor}"] for line in lines if f"wasserstein/{factor}" in line]
        figures.trend(f"{name}.wasserstein_{factor}", distances)
        for measure, goal in EMBEDDING_GOALS.items():
            drawn, fitted, train = (mapping[f"{measure}/{factor}{rival}"] for rival in ("", "_gaussian", "_train"))
            text = f"the Gaussian has {fitted:.3f}, training embeddings {train:.3f}"
            figures.figure(f"{name}.{measure}_{factor}", drawn, text, goal if factor != "pose" else None)


def data(figures: Figures) -> None:
    """Images a second of `unbraid data make people`, packing included."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "unbraid.cluster.cli", "data", "make", "people", f"{folder}/set", "--images", "8"]
        started = time.perf_counter()
        subprocess.run([*command, "--identities", "250"], check=True, capture_output=True)
        figures.figure("make_people", 2000 / (time.perf_counter() - started), "images/s at 128x64, start included", ">= 200")
    population = Population(0, 128, 64)
    population.render(0, 0, 0)
    started = time.perf_counter()
    for i in range(DRAWN):
        population.render(i, CAMERA * (i % 6) + i, i)
    figures.figure("render", DRAWN / (time.perf_counter() - started), "images/s on one thread, cameras' views included")


def tiled(figures: Figures) -> None:
    """The convolution over a tiled vector, as the paper writes it and as it is done here, forward and backward."""
    layer = TiledConvolution(352, KEYPOINTS, 128, (128, 64))
    torch.nn.init.normal_(layer.vector, 0, 0.02)
    vector, maps = torch.randn(4, 352, requires_grad=True), torch.rand(4, KEYPOINTS, 128, 64)

    def as_published() -> Tensor:
        joined = torch.cat([maps, vector[:, :, None, None].expand(-1, -1, 128, 64)], 1)
        weight = torch.cat([layer.maps.weight, layer.vector], 1)
        return F.conv2d(joined, weight, layer.maps.bias, padding=1)

    seconds: dict[str, float] = {}
    ways: dict[str, Callable[[], Tensor]] = {"published": as_published, "ours": lambda: layer(vector, maps)}
    for _ in range(3):
        for way, forward in ways.items():
            started = time.perf_counter()
            forward().square().mean().backward()
            seconds[way] = min(seconds.get(way, 1e9), time.perf_counter() - started)
    figures.figure("tiled_convolution", seconds["published"] / seconds["ours"], "x the published form's speed, same numbers")


def batch(config: SystemConfig, device: torch.device, size: int) -> dict[str, Tensor]:
    """People at random places, as far as arithmetic is concerned."""
    assert config.image_shape is not None
    _, height, width = config.image_shape
    keypoints = torch.rand(size, KEYPOINTS, 3, device=device) * torch.tensor([height, width, 0], device=device)
    keypoints[:, :, 2] = 1
    image = torch.zeros(size, *config.image_shape, dtype=torch.uint8, device=device)
    return {"image": image, "keypoints": keypoints}


def full_size(figures: Figures) -> None:
    """Parameters, checkpoint and arithmetic of the published sizes, so that a GPU run can be planned."""
    for preset in ("market1501", "deepfashion"):
        for stage in ("appearance", "pose", "mapping"):
            config = resolve(f"dpig-{preset}-{stage}")
            system = build_system(config, META, World())
            with FlopCounter() as counter:
                system.step(batch(config, META, config.data.batch))
            trained = sum(p.numel() for o in system.optimizers.values() for g in o.param_groups for p in g["params"])
            name = f"{preset}.{stage}"
            figures.figure(f"{name}.parameters", trained / 1e6, "million trained")
            figures.figure(f"{name}.state", expected_bytes(system) / 1e9, "GB of weights and Adam's moments, averages included")
            figures.figure(f"{name}.gflops", counter.flops / 1e9, f"an update of batch {config.data.batch}", digits=1)


def market(figures: Figures) -> None:
    """Twenty real updates of market1501's stage I at full size on made people, on this CPU."""
    with TemporaryDirectory() as folder:
        make = [sys.executable, "-m", "unbraid.cluster.cli", "data", "make", "people", f"{folder}/set", "--identities", "20"]
        subprocess.run([*make, "--images", "4"], check=True, capture_output=True)
        overrides = [
            f"data.url={folder}/set",
            "data.batch=2",
            "data.lanes=2",
            "run.precision=float32",
            "optim.lr_generator=2e-4",
        ]
        config = resolve("dpig-market1501-appearance", [*overrides, "data.window=16"])
        losses, seconds = train_few(config, FEW_UPDATES, "loss/l1")
    figures.trend("market1501.l1", losses)
    figures.figure("market1501.seconds_an_update", seconds, "on this CPU at batch 2", digits=2)


def main() -> None:
    figures = Figures("dpig", ", ".join(map(str, SEEDS)))
    use_local_services()
    parts: dict[str, Callable[[Figures], None]] = {"data": data, "tiled": tiled, "full_size": full_size, "market": market}
    for name, part in parts.items():
        if figures.wants(name):
            part(figures)
    if figures.wants("learning"):
        subprocess.run(
            [sys.executable, "-m", "unbraid.cluster.cli", "data", "make", "people", "--size", "64x32"],
            check=True,
            stdout=sys.stderr,
        )
        for seed in SEEDS:
            stage_one(figures, seed)
            poses_and_mappings(figures, seed)


if __name__ == "__main__":
    Path(STORAGE).mkdir(parents=True, exist_ok=True)
    main()
