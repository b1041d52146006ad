"""Spaces: pure functions from numbers to values."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from unbraid.trainers.search.campaign.space import (
    MAX_CORNERS,
    Choice,
    Dimension,
    RandomSuggester,
    Space,
    corners,
    grid,
    ordered,
    sample,
)

ADAPTER: TypeAdapter[dict[str, Dimension]] = TypeAdapter(dict[str, Dimension])


def space(**dimensions: dict[str, Any]) -> Space:
    return ADAPTER.validate_python(dimensions)


CONDITIONAL = space(
    rate={"log_uniform": [0.01, 1.0], "when": {"kind": "b"}},
    kind={"choice": ["a", "b"]},
    size={"integer": [1, 3]},
)


@given(st.integers(0, 10_000))
def test_samples_lie_within_bounds_and_conditions(seed: int) -> None:
    params = sample(CONDITIONAL, RandomSuggester(random.Random(seed)))
    assert 1 <= params["size"] <= 3
    assert ("rate" in params) == (params["kind"] == "b")
    assert 0.01 <= params.get("rate", 0.01) <= 1.0


def test_corners_are_all_extremes_that_can_occur_together() -> None:
    found = list(corners(CONDITIONAL))
    assert len(found) == 2 * (1 + 2)  # two sizes, and of kind b both rates
    assert {"kind": "a", "size": 3} in found
    assert {"kind": "b", "rate": 1.0, "size": 1} in found


def test_of_a_large_space_every_pair_of_extremes_is_still_seen() -> None:
    large = space(**{f"d{i}": {"uniform": [0.0, 1.0]} for i in range(13)})
    found = list(corners(large))
    assert len(found) < MAX_CORNERS
    pairs = {(point["d2"], point["d11"]) for point in found}
    assert {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)} <= pairs


def test_a_grid_is_every_point_once_in_order() -> None:
    points = grid(space(kind={"choice": ["a", "b"]}, size={"integer": [1, 2], "when": {"kind": "b"}}))
    assert points == [{"kind": "a"}, {"kind": "b", "size": 1}, {"kind": "b", "size": 2}]


def test_a_grid_of_a_continuum_is_refused() -> None:
    with pytest.raises(ValueError, match=r"space\.x: a grid needs a choice or an integer"):
        grid(space(x={"uniform": [0, 1]}))


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ({"a": {"choice": [1], "when": {"b": 1}}}, "b is not in the space"),
        ({"a": {"choice": [1], "when": {"b": 3}}, "b": {"choice": [1, 2]}}, "b is never 3"),
        ({"a": {"choice": [1], "when": {"b": 1}}, "b": {"integer": [1, 2]}}, "b is not a choice"),
        ({"a": {"choice": [1], "when": {"b": 1}}, "b": {"choice": [1], "when": {"a": 1}}}, "depend on each other in a circle"),
    ],
)
def test_conditions_that_cannot_hold_are_refused(dimensions: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ordered(space(**dimensions))


@pytest.mark.parametrize("dimension", [{"uniform": [1, 0]}, {"log_uniform": [0, 1]}, {"integer": [2, 2]}, {"choice": []}])
def test_bounds_that_hold_nothing_are_refused(dimension: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        space(a=dimension)


def test_lists_can_be_chosen() -> None:
    (dimension,) = space(codes={"choice": [[10], [10, 10]]}).values()
    assert isinstance(dimension, Choice)
    assert dimension.categories == ["[10]", "[10, 10]"]
    assert dimension.suggest("codes", RandomSuggester(random.Random(0))) in ([10], [10, 10])
