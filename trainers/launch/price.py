"""What training costs on a card: arithmetic counted without doing it, over the rate that a run has reached on that card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from unbraid.datasets.errors import DataError
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError, TrainingError
from unbraid.trainers.measures.flops import step_flops
from unbraid.trainers.runs.open import open_run, run_names
from unbraid.trainers.runs.record import read_run_or_none
from unbraid.trainers.runs.summary import Summary, summaries
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

PEAK_TFLOPS = {
    "t4": 65, "v100": 125, "a10": 125, "l4": 121, "a100": 312, "l40s": 362, "h100": 989, "h200": 989, "b200": 2250,
}  # fmt: skip
"""Dense arithmetic in 16 bits that makers state, in 10¹² operations a second."""
ASSUMED_SHARE = 0.05
"""Of a card's peak, where no run has been measured on it. Small adversarial networks leave most of a large card idle."""
CPU_FLOPS = 1e11
"""About what two CPU cores compute."""


@dataclass(frozen=True)
class Speed:
    """How fast one card computes.

    Attributes:
        flops: a second.
        source: where that is known from, in words.
    """

    flops: float
    source: str

    def hours(self, flops: float) -> float:
        """Hours of one card for so much arithmetic."""
        return flops / self.flops / 3600


CPU_SPEED = Speed(CPU_FLOPS, f"{CPU_FLOPS / 1e9:.0f} GFLOP/s, about two CPU cores")


def update_flops(config: SystemConfig) -> float | None:
    """FLOPs of one update, all workers together; None of a system that cannot be built from its configuration alone."""
    try:
        return step_flops(build_system(config, torch.device("meta"), World()), config)
    except (TrainingError, DataError):
        return None


def speed_of(card: str, system: str, storages: Iterable[str]) -> Speed:
    """The speed of a card for a system: of the newest of its runs on that card in the storages, else assumed.

    Args:
        card: part of its name, such as ``h100``.

    Raises:
        ConfigError: on a card that is neither known nor in any run.
    """
    measured = [run for storage in storages for run in _measured(card, system, storage)]
    for run in sorted(measured, key=lambda run: run.started, reverse=True):
        flops = update_flops(run.config)
        if flops:
            reached = flops * run.rate / (run.config.run.workers * (run.config.run.gpus or 1))
            return Speed(reached, f"{reached / 1e12:.2f} TFLOP/s, as run {run.name} reached on it ({run.rate:.1f} updates/s)")
    peak = PEAK_TFLOPS.get(card.lower())
    if peak is None:
        raise ConfigError(f"--gpu {card}: no run was trained on such a card; known without one are {', '.join(PEAK_TFLOPS)}")
    assumed = ASSUMED_SHARE * peak
    return Speed(assumed * 1e12, f"{assumed:.1f} TFLOP/s, assumed: {ASSUMED_SHARE:.0%} of its peak, no run on it was found")


def cost_text(flops: float, speed: Speed, card: str, price: float | None) -> str:
    """GPU hours, and money where there is a price for one."""
    hours = speed.hours(flops)
    money = "" if price is None else f", {hours * price:,.2f} at {price:g} an hour"
    return f"{f'{hours:,.2f}' if hours >= 0.1 else f'{hours:.2g}'} {card} hours{money}: {speed.source}"


def _measured(card: str, system: str, storage: str) -> list[Summary]:
    """The runs of a system on a card that a storage holds, with a rate; none where it cannot be read."""
    try:
        names = [name for name in run_names(storage) if _is_on(card, storage, name)]
        found = summaries(storage, names)
    except (DataError, ConfigError):
        return []
    return [run for run in found if isinstance(run, Summary) and run.rate and run.config.system == system]


def _is_on(card: str, storage: str, name: str) -> bool:
    try:
        device = (read_run_or_none(open_run(storage, name)) or {}).get("device", "")
    except (DataError, ConfigError):
        return False
    return card.lower().replace(" ", "") in device.lower().replace(" ", "")
