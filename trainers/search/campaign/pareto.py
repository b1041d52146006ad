"""Pareto fronts of points, each score of which is better the larger it is. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import TypeVar

Point = tuple[float, ...]
"""Scores of one evaluation; larger is better in each."""
Name = TypeVar("Name", int, str)


def fronts(points: Mapping[Name, Point]) -> list[list[Name]]:
    """Names by Pareto front; the first is dominated by none (non-dominated sorting; Deb et al., NSGA-II, 2002).

    By one score in n log n steps, by several in n².
    """
    if all(len(point) == 1 for point in points.values()):
        order = sorted(points, key=lambda name: (-number(points[name][0]), name))
        return [list(front) for _, front in groupby(order, key=lambda name: number(points[name][0]))]
    worse: dict[Name, list[Name]] = {name: [] for name in points}
    above = dict.fromkeys(points, 0)
    for name, point in points.items():
        for other, its in points.items():
            if dominates(point, its):
                worse[name].append(other)
                above[other] += 1
    found, front = [], sorted(name for name, count in above.items() if count == 0)
    while front:
        found.append(front)
        following = []
        for name in front:
            for other in worse[name]:
                above[other] -= 1
                if above[other] == 0:
                    following.append(other)
        front = sorted(following)
    return found


def dominates(a: Point, b: Point) -> bool:
    """Whether a point is at least as good as another in every score, and better in one."""
    pairs = [(number(x), number(y)) for x, y in zip(a, b, strict=True)]
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def number(score: float) -> float:
    """A score; one that is not a number is worse than all."""
    return -math.inf if math.isnan(score) else score
