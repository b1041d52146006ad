"""What a campaign costs at most, before it starts: updates, and arithmetic counted without doing it."""

from __future__ import annotations

from unbraid.datasets.errors import DataError
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.sections import Asha
from unbraid.trainers.search.campaign.space import corners

CORNERS_COUNTED = 4
FLOPS_A_SECOND = 1e11
"""For a sense of scale: about what two CPU cores do."""


def campaign_cost(campaign: Campaign) -> list[str]:
    """Lines of text: trials, updates, and FLOPs where the system can be built without data."""
    trials, updates = campaign.most_trials, campaign.updates
    most = trials * updates
    lines = [
        f"at most {trials} trials of {updates} updates: {most:,} updates"
        + (f", within budget.updates={campaign.budget.updates:,}" if campaign.budget.updates else "")
    ]
    if isinstance(campaign.scheduler, Asha) and campaign.rungs:
        expected = asha_updates(trials, campaign.rungs, campaign.scheduler.reduction, updates)
        lines.append(f"rungs at {', '.join(map(str, campaign.rungs))} updates: about {expected:,} updates when 1 of "
                     f"{campaign.scheduler.reduction} goes on at each")  # fmt: skip
        most = expected
    flops = flops_an_update(campaign)
    if flops:
        low, high = (extreme(flops) * most for extreme in (min, max))
        hours = [f"{total / FLOPS_A_SECOND / 3600:.2f}" for total in (low, high)]
        lines.append(
            f"{min(flops) / 1e9:.1f} to {max(flops) / 1e9:.1f} GFLOP an update, {low / 1e12:.1f} to {high / 1e12:.1f} TFLOP in "
            f"all: {' to '.join(hours)} hours at {FLOPS_A_SECOND / 1e9:.0f} GFLOP/s, measures aside"
        )
    return lines


def asha_updates(trials: int, rungs: tuple[int, ...], reduction: int, updates: int) -> int:
    """Updates of all trials together when the best 1/``reduction`` go on at each rung."""
    total, going, before = 0.0, float(trials), 0
    for at in (*rungs, updates):
        total += going * (at - before)
        going, before = going / reduction, at
    return round(total)


def flops_an_update(campaign: Campaign) -> list[float]:
    """Of some corners of the space; empty where a system needs more than its configuration to be built."""
    import torch

    from unbraid.trainers.errors import TrainingError
    from unbraid.trainers.measures.flops import step_flops
    from unbraid.trainers.step.distributed import World
    from unbraid.trainers.system import build_system

    found = []
    for params, _ in zip(corners(campaign.space), range(CORNERS_COUNTED), strict=False):
        config = campaign.config(params, 0, "corner")
        try:
            found.append(step_flops(build_system(config, torch.device("meta"), World()), config))
        except (TrainingError, DataError):
            return []
    return found
