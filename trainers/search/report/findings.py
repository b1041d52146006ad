"""What a campaign's own history says about its search: whether its choice agrees with the truth, and whether it paid."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence

from unbraid.trainers.search.campaign.checks import corner_config
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.sections import Objective

FEWEST = 5
"""Fully trained configurations below which a rank correlation says nothing."""
RESAMPLES = 500


def findings(campaign: Campaign, configurations: Sequence[Configuration]) -> list[str]:
    """Sentences about the search, as far as its history allows."""
    found = []
    for objective in campaign.objectives:
        found += agreements_with_truth(campaign, configurations, objective)
    if len(campaign.objectives) == 1:
        found += gain_over_random(campaign, configurations)
    return found


def agreements_with_truth(campaign: Campaign, configurations: Sequence[Configuration], objective: Objective) -> list[str]:
    """How an objective that reads no labels orders configurations compared with the system's measure that reads them."""
    config = corner_config(campaign)
    measures, primary = config.measures(), config.primary_metric
    if primary is None or not measures.get(primary.name) or measures.get(objective.metric):
        return []
    truth = Objective(metric=primary.name, mode="min" if primary.lower_is_better else "max")
    pairs = []
    for configuration in configurations:
        values = configuration.score(objective), configuration.score(truth)
        if not configuration.is_partial and values[0] is not None and values[1] is not None:
            pairs.append((objective.sign * values[0], truth.sign * values[1]))
    if len(pairs) < FEWEST:
        return []
    low, high = _interval(pairs)
    return [
        f"{objective.metric} reads no labels and orders the {len(pairs)} fully trained configurations like {truth.metric}, "
        f"which does, with a rank correlation of {spearman(pairs):.2f} (95 % interval {low:.2f} to {high:.2f})"
    ]


def gain_over_random(campaign: Campaign, configurations: Sequence[Configuration]) -> list[str]:
    """After how many updates the search passed the best of the random configurations that it began with."""
    objective, startup = campaign.objectives[0], campaign.searcher.startup
    if campaign.searcher.kind != "tpe":
        return []
    scores = {
        c.number: objective.sign * s for c in configurations if (s := c.score(objective)) is not None and not c.is_partial
    }
    asked = {c.number for c in configurations if c.asked}
    drawn = [number for number in scores if number < startup and number not in asked]
    if not drawn or not any(number >= startup for number in scores):
        return []
    best = max(scores[number] for number in drawn)
    updates: Mapping[int, int] = {c.number: sum(trial.updates for trial in c.trials.values()) for c in configurations}
    spent = sum(updates[c.number] for c in configurations if c.number < startup)
    after = 0
    for configuration in sorted(configurations, key=lambda c: c.number):
        if configuration.number < startup:
            continue
        after += updates[configuration.number]
        if scores.get(configuration.number, -math.inf) > best:
            return [
                f"the random configurations took {spent:,} updates, the best of them scores {objective.sign * best:.4f}; the "
                f"search passed it after {after:,} further updates"
            ]
    return [
        f"the random configurations took {spent:,} updates, the best of them scores {objective.sign * best:.4f}; the search "
        f"has not passed it in {after:,} further updates"
    ]


def spearman(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's rank correlation, equal values by their mean rank; 0 where one side does not vary."""
    left, right = (_ranks([pair[side] for pair in pairs]) for side in (0, 1))
    if len(set(left)) < 2 or len(set(right)) < 2:
        return 0.0
    return statistics.correlation(left, right)


def _interval(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The middle 95 % of the correlation over resampled configurations, by a fixed seed."""
    source = random.Random(0)
    found = sorted(spearman(source.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return found[round(0.025 * RESAMPLES)], found[round(0.975 * RESAMPLES) - 1]


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    first = {value: order.index(value) for value in set(values)}
    count = {value: order.count(value) for value in first}
    return [first[value] + (count[value] - 1) / 2 for value in values]
