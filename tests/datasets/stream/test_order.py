"""The order of samples is a pure function; each of its promises is checked without input or output."""

import hashlib
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.datasets.stream.order import PIECES_A_LANE, Order, batch_stretches, rank_lanes


def epoch_sequence(order: Order, epoch: int, ranks: int = 1) -> list[list[tuple[int, int]]]:
    """Global batches of an epoch as (shard, sample), put together from what each rank would take."""
    lanes: dict[int, list[tuple[int, int]]] = {}
    for rank in range(ranks):
        for lane in rank_lanes(order.lanes, rank, ranks):
            samples: list[tuple[int, int]] = []
            window = 0
            while stretches := order.stretches(epoch, lane, *order.window_bounds(lane, window)):
                content = [(s.shard, i) for s in stretches for i in range(s.first, s.last)]
                samples += [content[i] for i in order.permutation(epoch, lane, range(window, window + 1))]
                window += 1
            lanes[lane] = samples
    share = order.per_lane
    return [
        [sample for lane in sorted(lanes) for sample in lanes[lane][batch * share : (batch + 1) * share]]
        for batch in range(order.batches)
    ]


LENGTHS = st.one_of(st.integers(0, 3), st.integers(12, 40), st.integers(100, 300))
"""Samples of a shard: tars are of very different lengths."""


def fitting(counts: list[int], per_lane: int, window: int, seed: int) -> Order:
    """An order of 8 lanes, with a last shard that is large enough for a batch where the others are not."""
    batch = 8 * per_lane
    return Order((*counts, max(batch - sum(counts), 0)), batch, 8, window, seed)


ORDERS = st.builds(
    fitting,
    counts=st.lists(LENGTHS, min_size=0, max_size=30),
    per_lane=st.integers(1, 4),
    window=st.integers(1, 50),
    seed=st.integers(0, 2**31),
)


@given(ORDERS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_sample_comes_once_but_for_less_than_a_batch(order: Order, epoch: int) -> None:
    batches = epoch_sequence(order, epoch)
    assert all(len(batch) == order.batch for batch in batches)
    seen = [sample for batch in batches for sample in batch]
    every = {(shard, sample) for shard, count in enumerate(order.counts) for sample in range(count)}
    assert len(set(seen)) == len(seen)
    assert set(seen) <= every
    assert len(every) - len(seen) < order.batch


@given(ORDERS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_global_sequence_is_the_same_for_any_number_of_ranks(order: Order, epoch: int) -> None:
    alone = epoch_sequence(order, epoch)
    for ranks in range(2, 9):
        assert epoch_sequence(order, epoch, ranks) == alone


@given(ORDERS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_batch_is_found_without_those_before_it(order: Order, epoch: int) -> None:
    batches, share = epoch_sequence(order, epoch), order.per_lane
    for batch in range(order.batches):
        found = []
        for lane in range(order.lanes):
            window, into = order.window_at(lane, batch * share)
            samples: list[tuple[int, int]] = []
            while len(samples) < into + share:
                stretches = order.stretches(epoch, lane, *order.window_bounds(lane, window))
                content = [(s.shard, i) for s in stretches for i in range(s.first, s.last)]
                samples += [content[i] for i in order.permutation(epoch, lane, range(window, window + 1))]
                window += 1
            found += samples[into : into + share]
        assert found == batches[batch]


@given(ORDERS, st.integers(0, 3), st.integers(0, 7), st.integers(0, 5), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_windows_read_together_come_in_the_order_of_windows_read_apart(
    order: Order, epoch: int, lane: int, first: int, count: int
) -> None:
    apart = [
        order.window_bounds(lane, window)[0] + order.permutation(epoch, lane, range(window, window + 1))
        for window in range(first, first + count)
    ]
    together = order.window_bounds(lane, first)[0] + order.permutation(epoch, lane, range(first, first + count))
    assert np.concatenate(apart).tolist() == together.tolist()


@given(ORDERS, st.integers(0, 7), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_every_position_lies_in_its_window(order: Order, lane: int, position: int) -> None:
    window, into = order.window_at(lane, position)
    first, last = order.window_bounds(lane, window)
    assert first + into == position < last
    assert window == 0 or order.window_bounds(lane, window - 1)[1] == first


@pytest.mark.parametrize(
    "counts", [(750,) * 80, (60_000,), (1, 1000, 3, 50, 58_946)], ids=["equal shards", "one tar", "unequal tars"]
)
def test_an_epoch_leaves_out_less_than_a_batch_whatever_the_shards(counts: tuple[int, ...]) -> None:
    order = Order(counts, batch=128, lanes=16, window=1024, seed=0)
    seen = {sample for batch in epoch_sequence(order, 0) for sample in batch}
    assert order.batches == 468
    assert len(seen) == 468 * 128 == 60_000 - 96


def test_tars_of_very_different_lengths_feed_all_ranks() -> None:
    order = Order((1, 1000, 3, 50), batch=32, lanes=16, window=8, seed=0)
    assert order.batches == 32
    for epoch in range(4):
        alone = epoch_sequence(order, epoch)
        assert len({sample for batch in alone for sample in batch}) == 1024
        assert all(epoch_sequence(order, epoch, ranks) == alone for ranks in range(2, 9))


def test_two_lanes_read_their_own_parts_of_a_shard() -> None:
    order = Order((10,), batch=2, lanes=2, window=4, seed=0)
    parts = [{i for s in order.stretches(0, lane, 0, 10) for i in range(s.first, s.last)} for lane in (0, 1)]
    assert [len(part) for part in parts] == [5, 5]
    assert parts[0] | parts[1] == set(range(10))
    (last,) = order.stretches(0, 1, 4, 10)
    assert last.last - last.first == 1
    assert order.stretches(0, 1, 5, 10) == ()


def test_one_sorted_tar_is_mixed_like_many() -> None:
    """The samples of a tar of class after class: batches hold what those of many tars hold, and others in every epoch."""

    def classes_in_a_batch(counts: tuple[int, ...]) -> float:
        order = Order(counts, batch=64, lanes=16, window=64, seed=0)
        starts = np.cumsum((0, *counts))
        batches = epoch_sequence(order, 0)
        return float(np.mean([len({(starts[shard] + i) // 800 for shard, i in batch}) for batch in batches]))

    assert classes_in_a_batch((32_000,)) > 0.9 * classes_in_a_batch((500,) * 64)
    order = Order((32_000,), batch=64, lanes=16, window=64, seed=0)
    first, second = ({i for _, i in epoch_sequence(order, epoch)[0]} for epoch in (0, 1))
    assert len(first & second) < 8


def test_a_thousand_ranks_over_many_shards_see_what_one_rank_sees() -> None:
    """The number of ranks and lanes of a large cluster, with shards of few samples."""
    order = Order((6,) * 4096, batch=1024, lanes=1024, window=4, seed=1)
    assert epoch_sequence(order, 1, ranks=1024) == epoch_sequence(order, 1)


def test_batches_mix_shards_nearly_as_a_true_permutation_does() -> None:
    """Shards of one class each are the worst case: a batch still holds what chance would put there."""
    order = Order((100,) * 320, batch=128, lanes=64, window=64, seed=0)
    mixed = [len({shard for shard, _ in batch}) for batch in epoch_sequence(order, 0)]
    shuffled = np.random.default_rng(0).permutation(np.repeat(np.arange(320), 100))
    chance = [len(set(shuffled[i : i + 128].tolist())) for i in range(0, len(shuffled) - 127, 128)]
    assert np.mean(mixed) > 0.6 * np.mean(chance)
    places = np.array([shard * 100 + i for batch in epoch_sequence(order, 0) for shard, i in batch])
    assert abs(np.corrcoef(np.arange(len(places)), places)[0, 1]) < 0.15


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    sequences = [epoch_sequence(Order((50,) * 16, 16, 8, 64, seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    for i, sequence in enumerate(sequences):
        assert all(sequence != other for other in sequences[i + 1 :])


@pytest.mark.parametrize(
    ("order", "digest"),
    [
        (Order((50,) * 16, 16, 8, 64, 0), "7a0226107cf53448"),
        (Order((7, 13, 20, 9, 31, 8, 15, 11), 12, 4, 5, 3), "9f1632a57ad6b357"),
        (Order((7, 13, 20, 9, 31, 8, 15, 11), 6, 3, 1, 3), "44049b8672427047"),
        (Order((1, 1000, 3, 50), 32, 16, 8, 2), "1feeee0e18f781a9"),
    ],
)
def test_the_order_stays_what_it_was(order: Order, digest: str) -> None:
    """A run that an earlier version of this code or of numpy began continues with the same batches."""
    sequence = [epoch_sequence(order, epoch) for epoch in (0, 1, 9)]
    assert hashlib.sha256(str(sequence).encode()).hexdigest()[:16] == digest


def laid_end_to_end(order: Order, epoch: int) -> list[tuple[int, int]]:
    """All samples of an epoch before shuffling, written out lane by lane."""
    lanes = [order.stretches(epoch, lane, 0, order.lane_length(lane)) for lane in range(order.lanes)]
    return [(s.shard, sample) for stretches in lanes for s in stretches for sample in range(s.first, s.last)]


@given(ORDERS, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_lanes_divide_all_shards_laid_end_to_end(order: Order, epoch: int) -> None:
    laid = laid_end_to_end(order, epoch)
    assert sorted(laid) == [(shard, sample) for shard, count in enumerate(order.counts) for sample in range(count)]
    breaks = sum((shard, sample + 1) != following for (shard, sample), following in pairwise(laid))
    assert breaks <= len(order.counts) + PIECES_A_LANE * order.lanes  # read in stretches as long as mixing allows
    bounds = [order.lane_bounds(lane) for lane in range(order.lanes)]
    assert (bounds[0][0], bounds[-1][1]) == (0, len(laid))
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    lengths = [order.lane_length(lane) for lane in range(order.lanes)]
    assert lengths == [last - first for first, last in bounds]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= order.batches * order.per_lane


@pytest.mark.parametrize("shards", [2, 30])
def test_every_epoch_and_seed_shuffles_the_shards(shards: int) -> None:
    def first_shards(seed: int) -> list[tuple[int, ...]]:
        order = Order((10,) * shards, 2, 2, 1, seed)
        return [tuple(shard for shard, sample in laid_end_to_end(order, epoch) if not sample) for epoch in range(20)]

    zero, one = first_shards(0), first_shards(1)
    assert len(set(zero)) == min(20, 2 if shards == 2 else 20)
    assert zero != one
    assert first_shards(0) == zero


@given(ORDERS)
@settings(max_examples=20, deadline=None)
def test_epochs_may_be_asked_for_in_any_order(order: Order) -> None:
    forwards = [laid_end_to_end(order, epoch) for epoch in range(12)]
    assert [laid_end_to_end(order, epoch) for epoch in reversed(range(12))] == forwards[::-1]


def test_a_place_among_a_hundred_thousand_shards_is_found_at_once() -> None:
    """A rank of a thousand asks so at every read: the whole sequence of shards is computed once an epoch, not at each call."""
    order = Order(tuple(range(1, 100_001)), 4096, 1024, 256, 0)
    order.stretches(0, 0, 0, 1)
    started = time.process_time()
    for lane in range(1000):
        assert order.stretches(0, lane, 1000, 1256)
    assert time.process_time() - started < 0.5


@given(ORDERS, st.integers(0, 3), st.integers(0, 7), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_stretches_locate_the_positions_of_a_lane(order: Order, epoch: int, lane: int, begin: int, length: int) -> None:
    stretches = order.stretches(epoch, lane, begin, begin + length)
    located = [(s.shard, sample) for s in stretches for sample in range(s.first, s.last)]
    first, last = order.lane_bounds(lane)
    assert located == laid_end_to_end(order, epoch)[first:last][begin : begin + length]
    assert all(s.first < s.last for s in stretches)


@given(ORDERS, st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_windows_tile_a_lane_and_the_first_ones_are_staggered(order: Order, lane: int) -> None:
    bounds = [order.window_bounds(lane, window) for window in range(6)]
    assert bounds[0][0] == 0
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    assert [last - first for first, last in bounds[1:]] == [order.window] * 5
    firsts = [order.window_bounds(each, 0)[1] for each in range(order.lanes)]
    assert firsts[0] == order.window
    assert firsts == sorted(firsts, reverse=True)
    assert firsts[-1] >= order.window / order.lanes
    steps = [left - right for left, right in pairwise(firsts)]
    assert max(steps) - min(steps) <= 1


@given(ORDERS, st.integers(0, 3), st.integers(0, 7), st.integers(0, 10))
@settings(max_examples=100, deadline=None)
def test_a_window_is_shuffled_within_itself(order: Order, epoch: int, lane: int, window: int) -> None:
    first, last = order.window_bounds(lane, window)
    inside = max(min(last, order.lane_length(lane)) - first, 0)
    assert sorted(order.permutation(epoch, lane, range(window, window + 1)).tolist()) == list(range(inside))


def test_every_window_has_a_permutation_of_its_own() -> None:
    places = [(seed, epoch, lane, window) for seed in (0, 1) for epoch in (0, 1) for lane in (0, 1) for window in (1, 2)]
    found = {
        tuple(Order((200,) * 4, 2, 2, 50, seed).permutation(epoch, lane, range(window, window + 1)).tolist())
        for seed, epoch, lane, window in places
    }
    assert len(found) == len(places)


def test_a_window_of_one_does_not_shuffle() -> None:
    order = Order((20, 30, 40, 50), 2, 2, 1, 0)
    for lane in (0, 1):
        length = order.lane_length(lane)
        assert order.permutation(0, lane, range(3, length + 5)).tolist() == list(range(length - 3))


def test_numbers_that_just_fit_are_accepted() -> None:
    for counts in ((3,) * 8, (24,), (23, 1)):
        order = Order(counts, 24, 8, 16, 0)
        assert (order.batches, order.per_lane) == (1, 3)


@pytest.mark.parametrize(
    ("counts", "batch", "lanes", "message"),
    [
        ((10,) * 8, 12, 8, "a batch of 12 is not a multiple of 8 lanes: change data.batch or data.lanes"),
        ((1,) * 63, 64, 8, "63 samples do not fill one batch of 64: use a smaller data.batch"),
        ((3, 4), 8, 8, "7 samples do not fill one batch of 8"),
        ((), 8, 8, "0 samples do not fill one batch of 8"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(counts: tuple[int, ...], batch: int, lanes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Order(counts, batch, lanes, 16, 0)


@pytest.mark.parametrize(("lanes", "ranks"), [(8, 1), (8, 2), (8, 3), (16, 7), (5, 5)])
def test_ranks_own_all_lanes_and_nearly_as_many_each(lanes: int, ranks: int) -> None:
    owned = [rank_lanes(lanes, rank, ranks) for rank in range(ranks)]
    assert [lane for part in owned for lane in part] == list(range(lanes))
    assert max(map(len, owned)) - min(map(len, owned)) <= 1


def test_every_rank_owns_a_lane() -> None:
    with pytest.raises(ValueError, match="8 lanes cannot be shared by 9 ranks"):
        rank_lanes(8, 0, 9)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(1, 30), st.one_of(st.none(), st.integers(0, 300)))
@settings(max_examples=200, deadline=None)
def test_batches_of_a_split_hold_each_sample_once_in_packed_order(counts: list[int], batch: int, limit: int | None) -> None:
    packed = [(shard, sample) for shard, count in enumerate(counts) for sample in range(count)][:limit]
    batches = list(batch_stretches(counts, batch, limit))
    held = [[(s.shard, sample) for s in stretches for sample in range(s.first, s.last)] for stretches in batches]
    assert held == [packed[begin : begin + batch] for begin in range(0, len(packed), batch)]
    assert all(s.first < s.last for stretches in batches for s in stretches)
