"""The order of a campaign's configurations: by score, and with several objectives by Pareto rank."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.pareto import Point, fronts


def ranked(configurations: Sequence[Configuration], campaign: Campaign) -> list[Configuration]:
    """Configurations, best first.

    Those that were trained to the end with all seeds come first, by score; then those with fewer seeds, which the budget may
    have cut short; then partial ones, by the updates that they reached; last, those without a score. Those that lie outside of
    a space that was changed come after all that lie within. With several objectives, the Pareto rank counts before the score
    of the first objective.
    """
    fronts = pareto_ranks(configurations, campaign)
    first = campaign.objectives[0]

    def key(configuration: Configuration) -> tuple[Any, ...]:
        score = configuration.score(first)
        signed = -math.inf if score is None else first.sign * score
        reached = configuration.updates if configuration.is_partial else campaign.updates
        scored = configuration.scores(campaign) is not None and signed > -math.inf
        front = fronts.get(configuration.number, 0)
        fewer_seeds = not configuration.is_partial and len(configuration.trials) < campaign.seeds.count
        outside = configuration.point(campaign) is None
        return (outside, not scored, configuration.is_partial, fewer_seeds, -reached, front, -signed, configuration.number)

    return sorted(configurations, key=key)


def pareto_ranks(configurations: Iterable[Configuration], campaign: Campaign) -> dict[int, int]:
    """The Pareto rank of each fully trained configuration, by number.

    Rank 0 is the front: no other configuration is at least as good in all objectives and better in one. Rank 1 is the front of
    the rest, and so on.
    """
    points: dict[int, Point] = {}
    for configuration in configurations:
        scores = configuration.scores(campaign)
        if scores is not None and not configuration.is_partial:
            points[configuration.number] = tuple(o.sign * s for o, s in zip(campaign.objectives, scores, strict=True))
    return {number: rank for rank, front in enumerate(fronts(points)) for number in front}
