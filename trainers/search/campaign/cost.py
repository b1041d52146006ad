"""The cost of a campaign before it starts: updates, and floating-point operations counted without executing them."""

from __future__ import annotations

from unbraid.trainers.launch.price import CPU_SPEED, Speed, cost_text, update_flops
from unbraid.trainers.search.campaign.checks import corner_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.sections import Asha, HyperbandConfig
from unbraid.trainers.search.campaign.space import corners

CORNERS_COUNTED = 4


def campaign_cost(campaign: Campaign, card: str = "", speed: Speed = CPU_SPEED, price: float | None = None) -> list[str]:
    """Lines of text: trials, updates, and operations where the system can be built without data.

    Args:
        card: that hours are of; empty for a few CPU cores.
        speed: of one such card.
        price: of an hour of one card.
    """
    trials, updates = campaign.max_trials, campaign.updates
    total_updates = trials * updates
    lines = [
        f"at most {trials} trials of {updates} updates: {total_updates:,} updates"
        + (f", within budget.updates={campaign.budget.updates:,}" if campaign.budget.updates else "")
    ]
    if isinstance(campaign.scheduler, Asha | HyperbandConfig) and campaign.rungs:
        total_updates = asha_updates(trials, campaign.rungs, campaign.scheduler.reduction, updates)
        lines.append(
            f"rungs at {', '.join(map(str, campaign.rungs))} updates: about {total_updates:,} updates when 1 of "
            f"{campaign.scheduler.reduction} continues at each"
        )
    flops = flops_per_update(campaign)
    if flops:
        low, high = (extreme(flops) * total_updates for extreme in (min, max))
        ends = (low, high) if high > 1.01 * low else (high,)
        each = " to ".join(f"{end / total_updates / 1e9:.1f}" for end in ends)
        whole = " to ".join(f"{end / 1e12:.1f}" for end in ends)
        lines.append(f"{each} GFLOP an update, {whole} TFLOP in total, without evaluations")
        lines += [cost_text(total, speed, card or "worker", price) for total in ends]
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
    counted = zip(corners(campaign.space), range(CORNERS_COUNTED), strict=False)
    found = [update_flops(corner_config(campaign, params)) for params, _ in counted]
    known = [flops for flops in found if flops is not None]
    return known if len(known) == len(found) else []
