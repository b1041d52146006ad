"""The order of a campaign's configurations: by score, and with several objectives by Pareto rank."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration


def ranked(configurations: Sequence[Configuration], campaign: Campaign) -> list[Configuration]:
    """Best first: those trained to the end by score, then those that were cut, the longest trained first; with several
    objectives by Pareto rank, then by the first one. Those without any score come last."""
    fronts = pareto_ranks(configurations, campaign)
    first = campaign.objectives[0]

    def key(configuration: Configuration) -> tuple[Any, ...]:
        score = configuration.score(first)
        signed = -math.inf if score is None else first.sign * score
        reached = configuration.updates if configuration.was_cut else campaign.updates
        worth = configuration.scores(campaign) is not None and signed > -math.inf
        return (not worth, configuration.was_cut, -reached, fronts.get(configuration.number, 0), -signed, configuration.number)

    return sorted(configurations, key=key)


def pareto_ranks(configurations: Iterable[Configuration], campaign: Campaign) -> dict[int, int]:
    """0 for configurations that no other is better than in one objective and as good in all; then without these, and so on."""
    points: dict[int, list[float]] = {}
    for configuration in configurations:
        scores = configuration.scores(campaign)
        if scores is not None and not configuration.was_cut:
            points[configuration.number] = [o.sign * s for o, s in zip(campaign.objectives, scores, strict=True)]
    ranks: dict[int, int] = {}
    rank = 0
    while points:
        front = [n for n, point in points.items() if not any(_dominates(other, point) for other in points.values())]
        ranks |= dict.fromkeys(front, rank)
        points = {n: point for n, point in points.items() if n not in front}
        rank += 1
    return ranks


def _dominates(a: list[float], b: list[float]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b
