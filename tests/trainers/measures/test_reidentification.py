"""Rank-k and mean average precision of people, against Market-1501's own code and cases computed by hand."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from unbraid.trainers.measures.reidentification import (
    DISTRACTOR,
    JUNK,
    Sightings,
    answerable,
    average_precision,
    reidentification_scores,
)


def at_angles(*degrees: float) -> Tensor:
    """Features (N, 2) whose similarity to that at 0 falls with the angle; of any length, which does not count."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, len(degrees) + 1)[:, None]


def seen(person: Sequence[int], camera: Sequence[int] | None = None, row: Sequence[int] | None = None) -> Sightings:
    cameras, rows = (None if numbers is None else torch.tensor(numbers) for numbers in (camera, row))
    return Sightings(torch.tensor(person), cameras, rows)


def test_market_1501s_rule_by_hand() -> None:
    """In order: left out (own camera), wrong, right, left out (junk), wrong (a distractor), wrong (own camera), right."""
    people, cameras = [1, 2, 1, JUNK, DISTRACTOR, 2, 1], [1, 2, 2, 3, 3, 1, 3]
    gallery = at_angles(10, 20, 30, 40, 50, 60, 70)
    scores = reidentification_scores(at_angles(0), gallery, seen([1], [1]), seen(people, cameras))
    assert scores["rank_1"] == 0
    assert scores["rank_5"] == scores["rank_10"] == 1
    trapezoids = ((1 / 2 + 0) / 2 + (2 / 5 + 1 / 4) / 2) / 2
    assert scores["map"] == pytest.approx(trapezoids)
    assert scores["map_stepwise"] == pytest.approx((1 / 2 + 2 / 5) / 2)


def test_without_cameras_only_the_query_itself_is_left_out() -> None:
    features, people = at_angles(0, 10, 20, 30), [1, 2, 1, 2]
    of_gallery = seen(people)
    scores = reidentification_scores(features[:1], features, seen([1], None, [0]), of_gallery)
    assert scores["rank_1"] == 0
    assert scores["map"] == pytest.approx((1 / 2 + 0) / 2)
    with_itself = reidentification_scores(features[:1], features, seen([1]), of_gallery)
    assert with_itself["rank_1"] == 1
    half_known = reidentification_scores(features[:1], features, seen([1], [1], [0]), of_gallery)
    assert half_known == scores


def test_queries_without_an_answer_are_left_out_of_the_means() -> None:
    of_queries, of_gallery = seen([1, 2, 3], [1, 1, 1]), seen([1, 2, 2], [2, 1, 1])
    assert answerable(of_queries, of_gallery) == 1
    scores = reidentification_scores(at_angles(0, 0, 0), at_angles(10, 20, 30), of_queries, of_gallery)
    assert scores["rank_1"] == scores["map"] == 1
    with pytest.raises(ValueError, match="no query has an image of the same person"):
        reidentification_scores(at_angles(0), at_angles(0), seen([3], [1]), seen([3], [1]))


def test_junk_and_distractors_are_no_queries_answers() -> None:
    for nobody in (JUNK, DISTRACTOR):
        assert answerable(seen([1]), seen([nobody])) == 0


def test_equal_features_find_nobody() -> None:
    people = torch.arange(20)
    same = torch.ones(20, 8)
    assert reidentification_scores(same, same, Sightings(people), Sightings(people))["rank_10"] == 0
    known = torch.eye(20)
    assert reidentification_scores(known, known, Sightings(people), Sightings(people))["rank_1"] == 1


def market_1501s_own(order: list[int], good: set[int], junk: set[int]) -> tuple[float, int]:
    """``compute_AP.m`` of the published evaluation code, line by line; also the first rank that is right, from 0."""
    old_recall, old_precision, found, precision_sum, rank, first = 0.0, 1.0, 0, 0.0, 0, -1
    for image in order:
        if image in junk:
            continue
        if image in good:
            found += 1
            first = rank if first < 0 else first
        recall, precision = found / len(good), found / (rank + 1)
        precision_sum += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision, rank = recall, precision, rank + 1
    return precision_sum, first


def test_scores_are_those_of_market_1501s_own_code() -> None:
    torch.manual_seed(0)
    queries, gallery = torch.randn(30, 4), torch.randn(200, 4)
    of_queries = seen(torch.randint(1, 6, (30,)).tolist(), torch.randint(1, 4, (30,)).tolist())
    of_gallery = seen(torch.randint(-2, 6, (200,)).tolist(), torch.randint(1, 4, (200,)).tolist())
    assert of_queries.camera is not None
    assert of_gallery.camera is not None
    precisions, firsts = [], []
    for i in range(30):
        order = torch.cosine_similarity(queries[i : i + 1], gallery).argsort(descending=True).tolist()
        person, camera = of_queries.person[i], of_queries.camera[i]
        same, by_own = of_gallery.person == person, of_gallery.camera == camera
        junk = (of_gallery.person == JUNK) | (same & by_own)
        rows = [set(mask.nonzero()[:, 0].tolist()) for mask in (same & ~by_own, junk)]
        precision, first = market_1501s_own(order, *rows)
        precisions.append(precision)
        firsts.append(first)
    scores = reidentification_scores(queries, gallery, of_queries, of_gallery)
    assert scores["map"] == pytest.approx(sum(precisions) / 30)
    assert scores["rank_5"] == pytest.approx(sum(first < 5 for first in firsts) / 30)
    assert scores["rank_1"] == pytest.approx(sum(first < 1 for first in firsts) / 30)


def test_average_precision_of_a_perfect_order_is_one_by_both_rules() -> None:
    assert average_precision(torch.tensor([True, True, False])) == (1.0, 1.0)
    assert average_precision(torch.tensor([False, True])) == pytest.approx((0.25, 0.5))
