"""Runs that go wrong, and runs that only look so: what the judge of runs makes of them, and what helps.

Parts (``--only``): ``curves``, the judge over every recorded curve of a preset, which are runs that went well; ``cases``, small
systems on real digits and made people, broken on purpose in mid-run; ``cost``, what the norms of gradients and updates take;
``remedies``, the pose auto-encoder that exploded after thousands of tiny losses, under five seeds each.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Optimizer

from benchmarks.figures import Figures
from tests.conftest import pack_digits
from tests.trainers.monitor.curves import read_curves
from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.pairs import cdd_config, pack_coloured_digits, pix2pix_config
from tests.trainers.systems.people import pack_people, stage_config
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import Position, read_split
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.data import Batch, open_stream
from unbraid.trainers.monitor.divergence import read_scalars
from unbraid.trainers.monitor.judge import Finding, Judge
from unbraid.trainers.runs.watch import Watch
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system
from unbraid.trainers.systems.dpig.pose.measures import keypoint_errors
from unbraid.trainers.systems.dpig.pose.model import Model as PoseModel

CPU = torch.device("cpu")
SEEDS = range(5)
BEFORE, AFTER, READ_EVERY = 200, 150, 10
"""Updates before a system is broken, at most after that, and between readings."""
REMEDY_UPDATES = int(os.environ.get("UNBRAID_BENCH_UPDATES", "12000"))
REMEDY_READ_EVERY = 50
REMEDY_BATCH = int(os.environ.get("UNBRAID_BENCH_BATCH", "128"))
"""The preset's is 128, of which an update takes a slow core a tenth of a second."""


def main() -> None:
    """Run the parts that were asked for."""
    torch.set_num_threads(int(os.environ.get("UNBRAID_BENCH_CPUS", "1")))
    figures = Figures("divergence", f"{SEEDS.start} to {SEEDS.stop - 1}")
    for name, part in (("curves", curves), ("cases", cases), ("cost", cost), ("remedies", remedies)):
        if figures.wants(name):
            part(figures)


def curves(figures: Figures) -> None:
    """Whole runs that went well, thinned to what the judge reads."""
    alarms = readings = 0
    for curve in read_curves():
        judge = Judge(curve.config.divergence, curve.config.bounded)
        judge.replay(curve.lines)
        readings += len(curve.lines)
        if judge.finding is not None:
            alarms += 1
            print(f"false alarm: {curve.name}: {judge.finding.what}", file=sys.stderr)
    figures.figure("curves", len(read_curves()), f"recorded runs that went well, {readings} readings", digits=0)
    figures.figure("false_alarms", alarms, "of them", "0", digits=0)


@dataclass
class Arena:
    """A system that trains in this process, judged as in a run."""

    config: SystemConfig
    system: Any
    batches: Iterator[Batch]
    judge: Watch
    lines: list[dict[str, float]]

    @classmethod
    def of(cls, config: SystemConfig) -> Arena:
        stream = open_stream(config, World(), Position())
        return cls(config, build_system(config, CPU, World()), iter(stream), Watch(config, []), [])

    def train(self, updates: int, change: Callable[[Batch], Batch] = lambda batch: batch) -> Finding | None:
        """Some updates; what the judge found, after which no more are made."""
        for _ in range(updates):
            scalars = self.system.step(change(next(self.batches)))
            step = self.system.updates
            if step % self.config.run.log_every == 0:
                self.lines.append({"step": step, **read_scalars(scalars)})
                found = self.judge.judge.read(self.lines[-1])
                if found is not None:
                    return found
        return None

    @property
    def learns_on(self) -> bool:
        """Whether no bounded scalar is worse than before the system was broken, by a fifth or 0.2 nats."""
        before, after = self.lines[BEFORE // READ_EVERY - 10 : BEFORE // READ_EVERY], self.lines[-5:]
        for prefix, kind in self.config.bounded.items():
            for name in (name for name in before[-1] if name.startswith(prefix)):
                was, now = (statistics.median(line[name] for line in lines) for lines in (before, after))
                if now > 1.2 * was if kind == "error" else now < was - 0.2:
                    return False
        return True


Break = Callable[[Arena], Callable[[Batch], Batch] | None]
"""Breaks a system; may return what is done to every batch from then on."""


def cases(figures: Figures) -> None:
    """Each system, broken in each way that it has."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        detected = possible = lost = 0
        slowest = 0
        for system, config in small_systems(folder).items():
            if system not in os.environ.get("UNBRAID_BENCH_SYSTEMS", system).split(","):
                continue
            for case, broken in breaks(system).items():
                arena = Arena.of(config)
                early = arena.train(BEFORE)
                if early is not None:
                    print(f"{system}: false alarm before it was broken: {early.what}", file=sys.stderr)
                    figures.figure(f"{system}_false_alarm", 1, f"at update {early.step}", "0", digits=0)
                    break
                found = arena.train(AFTER, broken(arena) or (lambda batch: batch))
                if found is None and arena.learns_on:
                    figures.figure(f"{system}_{case}", 0, "no harm: it learns on, and nothing is found", digits=0)
                    continue
                possible += 1
                taken = math.inf if found is None else found.step - BEFORE
                detected += taken <= 100
                slowest = max(slowest, int(min(taken, AFTER)))
                checkpoints = list(range(READ_EVERY, arena.system.updates + 1, READ_EVERY))
                lost += found is not None and (arena.judge.kept(checkpoints).good or 0) < BEFORE - READ_EVERY
                words = f"not within {AFTER}" if found is None else found.what
                figures.figure(f"{system}_{case}", min(taken, AFTER), f"updates until it is seen: {words}", "<= 100", digits=0)
        figures.figure("cases_detected", detected, f"of {possible} within 100 updates", f"{possible}", digits=0)
        figures.figure("slowest", slowest, "updates", "<= 100", digits=0)
        figures.figure("good_checkpoints_lost", lost, "of the detected", "0", digits=0)


def small_systems(folder: Path) -> dict[str, SystemConfig]:
    """Every system in miniature, on real digits and made people."""
    digits, people = open_store(str(folder / "digits"), create=True), pack_people(folder / "people", 24, 6)
    pack_digits(digits)
    pairs = pack_coloured_digits(folder / "pairs")
    read = f"run.log_every={READ_EVERY}"
    return {
        "infogan": resolve("infogan-mnist", [*TINY, f"data.url={digits.url}", f"run.storage={folder}", read]),
        "pose": stage_config("pose", people, folder, read),
        "appearance": stage_config("appearance", people, folder, read),
        "cdd": cdd_config(pairs, folder, read),
        "pix2pix": pix2pix_config(pairs, folder, read),
    }


MAIN_WEIGHT = {
    "infogan": "info_categorical", "pose": "reconstruction", "appearance": "reconstruction", "cdd": "autoencoder",
    "pix2pix": "l1",
}  # fmt: skip
"""The loss by which each system learns what it is for."""


def breaks(system: str) -> dict[str, Break]:
    """The ways to break a system, by name."""
    found: dict[str, Break] = {
        "rate_x10": lambda arena: scale_rates(arena, 10),
        "rate_x100": lambda arena: scale_rates(arena, 100),
        "weight_x100": lambda arena: scale_weight(arena, MAIN_WEIGHT[system], 100),
        "sign": lambda arena: scale_weight(arena, MAIN_WEIGHT[system], -1),
    }
    if system != "pose":  # which looks at no pixels
        found["garbage"] = lambda arena: garbage
    if system in ("infogan", "pix2pix", "appearance"):
        found["discriminator_wins"] = let_discriminator_win
    return found


def scale_rates(arena: Arena, factor: float) -> None:
    """From now on, all players learn so much faster."""
    for player in arena.system.players:
        player._rates = [rate * factor for rate in player._rates]


def scale_weight(arena: Arena, name: str, factor: float) -> None:
    """As an exchange between members of a population may do."""
    loss: Any = arena.system.config.loss
    changed = loss.model_copy(update={name: getattr(loss, name) * factor})
    arena.system.config = arena.system.config.model_copy(update={"loss": changed})
    if hasattr(arena.system, "_loss"):
        arena.system._loss = changed


def garbage(batch: Batch) -> Batch:
    """Images of noise."""
    return {
        name: torch.randint_like(value, 256) if value.dtype == torch.uint8 and value.dim() == 4 else value
        for name, value in batch.items()
    }


def let_discriminator_win(arena: Arena) -> None:
    """The generator stands still."""
    for player in arena.system.players:
        if player.name == "generator":
            player._rates = [0.0 for _ in player._rates]


def cost(figures: Figures) -> None:
    """Norms at every update and at none, in turn, on the same system."""
    with tempfile.TemporaryDirectory() as name:
        for system, config in small_systems(Path(name)).items():
            arena = Arena.of(config)
            seconds = {1: 0.0, 10**9: 0.0}
            batches = list(itertools.islice(arena.batches, 4))
            for turn in range(13):
                for every in seconds:
                    arena.system._log_every = every
                    started = time.perf_counter()
                    for batch in batches:
                        arena.system.step(batch)
                    if turn:
                        seconds[every] += time.perf_counter() - started
            with_norms, without = seconds.values()
            share = 100 * (with_norms / without - 1) / 10
            unit = f"% of an update, read every 10; {100 * (with_norms / without - 1):.1f} % where it is read"
            figures.figure(f"norms_{system}", share, unit, "<= 1")


class Clipped(Adam):
    """Adam on gradients whose global norm is at most 1."""

    def step(self, closure: Any = None) -> Any:
        clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
        return super().step(closure)


class StableUpdates(Optimizer):
    """Adam whose update of a tensor is divided by the root mean square of g²/v where that is above 1 (arXiv 2304.13013)."""

    def __init__(self, parameters: Any, lr: float, betas: tuple[float, float], eps: float = 1e-8) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["step"] += 1
                state["m"].lerp_(p.grad, 1 - first)
                state["v"].lerp_(p.grad.square(), 1 - second)
                m, v = state["m"] / (1 - first ** state["step"]), state["v"] / (1 - second ** state["step"])
                rms = (p.grad.square() / v.clamp_min(group["eps"] ** 2)).mean().sqrt().clamp_min(1.0)
                p.sub_(group["lr"] / rms * m / (v.sqrt() + group["eps"]))


Made = Callable[[list[Tensor], float], Optimizer]
REMEDIES: dict[str, Made] = {
    "as_it_was": lambda p, lr: Adam(p, lr, (0.5, 0.999)),
    "beta2_0.99": lambda p, lr: Adam(p, lr, (0.5, 0.99)),
    "eps_1e-6": lambda p, lr: Adam(p, lr, (0.5, 0.999), eps=1e-6),
    "clipped_gradient": lambda p, lr: Clipped(p, lr, (0.5, 0.999)),
    "clipped_update": lambda p, lr: StableUpdates(p, lr, (0.5, 0.999)),
    "beta1_0.9": lambda p, lr: Adam(p, lr, (0.9, 0.999)),
}


def remedies(figures: Figures) -> None:
    """The pose auto-encoder of dpig-people-small-pose, without a falling rate, for twice its updates, under each optimiser."""
    folder = Path("runs/benchmarks/divergence")
    people = folder / "people"
    if not (people / "index.json").exists():
        words = ["--identities", "48", "--images", "8", "--size", "64x32", "--shards", "16"]
        command = [sys.executable, "-m", "unbraid.cluster.cli", "data", "make", "people", str(people), *words]
        subprocess.run(command, check=True, stdout=sys.stderr)
    train, test = (keypoints_of(people, split) for split in ("train", "validation"))
    for seed, (name, make) in itertools.product(SEEDS, REMEDIES.items()):
        if name not in os.environ.get("UNBRAID_BENCH_REMEDIES", name).split(","):
            continue
        kept = folder / f"{name}-{seed}-{REMEDY_BATCH}-{REMEDY_UPDATES}.json"
        if not kept.exists():
            error, found = train_pose(train, test, seed, make)
            result = {
                "error": error,
                "step": None if found is None else found.step,
                "what": "" if found is None else found.what,
            }
            kept.write_text(json.dumps(result))
            print(f"{name}, seed {seed}: {result}", file=sys.stderr, flush=True)
    for name in REMEDIES:
        report_remedy(
            figures,
            name,
            [json.loads(file.read_text()) for file in sorted(folder.glob(f"{name}-*-{REMEDY_BATCH}-{REMEDY_UPDATES}.json"))],
        )


def report_remedy(figures: Figures, name: str, results: list[dict[str, Any]]) -> None:
    """What came of one optimiser's runs."""
    if not results:
        return
    gone = sorted(result["step"] for result in results if result["step"] is not None)
    unit = f"of {len(results)} seeds, in {REMEDY_UPDATES} updates of batch {REMEDY_BATCH}"
    figures.figure(f"remedy_{name}_diverged", len(gone), f"{unit}; seen at {gone or 'none'}", digits=0)
    left = sorted(result["error"] for result in results if result["step"] is None)
    if left:
        words = f"% of the height, median of {len(left)}: {left[0]:.3f} to {left[-1]:.3f}; validation split"
        figures.figure(f"remedy_{name}_error", left[len(left) // 2], words)


def keypoints_of(people: Path, split: str) -> Tensor:
    """All poses of a split."""
    return torch.cat([batch["keypoints"] for batch in read_split(str(people), split, 500, None)])


def train_pose(train: Tensor, test: Tensor, seed: int, make: Made) -> tuple[float, Finding | None]:
    """One run from memory; the keypoint error at its end, and what the judge found."""
    overrides = [f"run.seed={seed}", f"run.updates={2 * REMEDY_UPDATES}", "run.precision=float32", f"data.batch={REMEDY_BATCH}"]
    config: Any = resolve("dpig-people-small-pose", [*overrides, f"run.log_every={REMEDY_READ_EVERY}"])
    system: Any = build_system(config, CPU, World())
    player: Any = system.players[0]
    player.optimizer = make(list(player.network.parameters()), config.optim.lr)
    judge = Judge(config.divergence, config.bounded)
    order = torch.Generator().manual_seed(seed)
    images = torch.zeros(config.data.batch, 3, 1, 32, dtype=torch.uint8)  # of which the width is read
    rows = torch.empty(0, dtype=torch.long)
    for update in range(1, REMEDY_UPDATES + 1):
        if len(rows) < config.data.batch:
            rows = torch.cat([rows, torch.randperm(len(train), generator=order)])
        taken, rows = rows[: config.data.batch], rows[config.data.batch :]
        scalars: Mapping[str, Tensor] = system.step({"image": images, "keypoints": train[taken]})
        if update % REMEDY_READ_EVERY == 0:
            found = judge.read({"step": update, **read_scalars(scalars)})
            if found is not None:
                return math.inf, found
    model: PoseModel = system.model
    return keypoint_errors(model.rebuild(test), test, model.size)["keypoint/error_percent"], None


if __name__ == "__main__":
    main()
