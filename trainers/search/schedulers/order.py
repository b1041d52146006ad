"""The order of trials at a rung, by one score or by several."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unbraid.trainers.search.campaign.pareto import Point, fronts, number


def best_first(points: Mapping[str, Point]) -> list[str]:
    """Names of trials, best first; it does not depend on the order in which they reported.

    With several scores, Pareto fronts follow each other. Within a front each next trial is the one that is farthest from those
    before it, so that any share of the front covers it (the ε-net of MO-ASHA; Schmucker et al., "Multi-objective asynchronous
    successive halving", 2021, section 4).
    """
    if all(len(point) == 1 for point in points.values()):
        return sorted(points, key=lambda name: (-number(points[name][0]), name))
    order: list[str] = []
    for front in fronts(points):
        order += _spread(front, _scaled({name: points[name] for name in front}))
    return order


def _spread(front: list[str], points: Mapping[str, Point]) -> list[str]:
    """The names of a front: the best by the first score, then always the one farthest from all before it."""
    rest = sorted(front, key=lambda name: (-points[name][0], name))
    order = [rest.pop(0)]
    distance = {name: math.dist(points[name], points[order[0]]) for name in rest}
    while rest:
        farthest = max(rest, key=lambda name: distance[name])
        rest.remove(farthest)
        order.append(farthest)
        for name in rest:
            distance[name] = min(distance[name], math.dist(points[name], points[farthest]))
    return order


def _scaled(points: Mapping[str, Point]) -> dict[str, Point]:
    """Points with each score scaled to [0, 1], so that no score's unit decides a distance."""
    columns = [[number(value) for value in column] for column in zip(*points.values(), strict=True)]
    finite = [[value for value in column if math.isfinite(value)] or [0.0] for column in columns]
    lows, widths = [min(column) for column in finite], [max(column) - min(column) or 1.0 for column in finite]
    return {
        name: tuple(
            min(max((number(value) - low) / width, 0.0), 1.0) for value, low, width in zip(point, lows, widths, strict=True)
        )
        for name, point in points.items()
    }
