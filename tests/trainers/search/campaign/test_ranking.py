"""The order of configurations."""

from tests.trainers.search.campaigns import configuration, parsed
from unbraid.trainers.search.campaign.ranking import pareto_ranks, ranked


def test_fully_trained_ranks_before_partial_and_failed_ones_come_last() -> None:
    stopped = configuration(1, 0.9, state="stopped", updates=2)
    longer = configuration(2, 0.3, state="stopped", updates=6)
    failed = configuration(3, 0.99, state="failed")
    order = ranked([failed, stopped, longer, configuration(0, 0.1)], parsed())
    assert [c.number for c in order] == [0, 2, 1, 3]


def test_less_can_be_better() -> None:
    least = parsed(objectives=[{"metric": "info/share", "mode": "min"}])
    assert [c.number for c in ranked([configuration(0, 0.9), configuration(1, 0.1)], least)] == [1, 0]


def test_the_pareto_front_is_what_nothing_dominates() -> None:
    two = parsed(objectives=[{"metric": "info/share"}, {"metric": "quality/coverage"}])
    points = [configuration(0, 0.1), configuration(1, 0.9), configuration(2, 0.5)]
    points[2].trials[0].rungs = [(8, {"info/share": 0.05, "quality/coverage": -0.2})]
    assert pareto_ranks(points, two) == {0: 0, 1: 0, 2: 1}
    assert ranked(points, two)[-1].number == 2


def test_fewer_seeds_than_the_campaign_wants_rank_after_all_seeds() -> None:
    campaign = parsed(seeds={"count": 2})
    lucky, whole, stopped = configuration(0, 0.9), configuration(1, 0.3, 0.4), configuration(2, 0.95, state="stopped")
    assert [c.number for c in ranked([lucky, whole, stopped], campaign)] == [1, 0, 2]
