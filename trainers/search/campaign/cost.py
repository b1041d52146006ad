"""The cost of a campaign before it starts: updates, and floating-point operations counted without executing them."""

from __future__ import annotations

import torch

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import TrainingError
from unbraid.trainers.measures.flops import step_flops
from unbraid.trainers.search.campaign.checks import corner_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.sections import Asha
from unbraid.trainers.search.campaign.space import corners
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

CORNERS_COUNTED = 4
FLOPS_PER_SECOND = 1e11
"""About what two CPU cores compute; it turns operations into hours, for a sense of scale."""


def campaign_cost(campaign: Campaign) -> list[str]:
    """Lines of text: trials, updates, and operations where the system can be built without data."""
    trials, updates = campaign.max_trials, campaign.updates
    total_updates = trials * updates
    lines = [
        f"at most {trials} trials of {updates} updates: {total_updates:,} updates"
        + (f", within budget.updates={campaign.budget.updates:,}" if campaign.budget.updates else "")
    ]
    if isinstance(campaign.scheduler, Asha) and campaign.rungs:
        total_updates = asha_updates(trials, campaign.rungs, campaign.scheduler.reduction, updates)
        lines.append(
            f"rungs at {', '.join(map(str, campaign.rungs))} updates: about {total_updates:,} updates when 1 of "
            f"{campaign.scheduler.reduction} continues at each"
        )
    flops = flops_per_update(campaign)
    if flops:
        low, high = (extreme(flops) * total_updates for extreme in (min, max))
        hours = [f"{total / FLOPS_PER_SECOND / 3600:.2f}" for total in (low, high)]
        lines.append(
            f"{min(flops) / 1e9:.1f} to {max(flops) / 1e9:.1f} GFLOP an update, {low / 1e12:.1f} to {high / 1e12:.1f} TFLOP in "
            f"total: {' to '.join(hours)} hours at {FLOPS_PER_SECOND / 1e9:.0f} GFLOP/s, without evaluations"
        )
    return lines


def asha_updates(trials: int, rungs: tuple[int, ...], reduction: int, updates: int) -> int:
    """The updates of all trials together when the best 1/``reduction`` continue at each rung."""
    total, continuing, before = 0.0, float(trials), 0
    for at in (*rungs, updates):
        total += continuing * (at - before)
        continuing, before = continuing / reduction, at
    return round(total)


def flops_per_update(campaign: Campaign) -> list[float]:
    """FLOPs of an update at some corners of the space; empty for a system that cannot be built from its configuration alone."""
    found = []
    for params, _ in zip(corners(campaign.space), range(CORNERS_COUNTED), strict=False):
        config = corner_config(campaign, params)
        try:
            found.append(step_flops(build_system(config, torch.device("meta"), World()), config))
        except (TrainingError, DataError):
            return []
    return found
