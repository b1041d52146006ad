"""The order of samples is a pure function, and every promise of it is checked without input or output."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.order import Order, rank_lanes


def epoch_sequence(order: Order, epoch: int, ranks: int = 1) -> list[list[tuple[int, int]]]:
    """Global batches of an epoch as (shard, sample), put together from what each rank would take."""
    lanes: dict[int, list[tuple[int, int]]] = {}
    for rank in range(ranks):
        for lane in rank_lanes(order.lanes, rank, ranks):
            samples: list[tuple[int, int]] = []
            window = 0
            while stretches := order.window_stretches(epoch, lane, window):
                content = [(s.shard, i) for s in stretches for i in range(s.first, s.last)]
                samples += [content[i] for i in order.window_permutation(epoch, lane, window, len(content))]
                window += 1
            lanes[lane] = samples
    share = order.per_lane
    return [
        [sample for lane in sorted(lanes) for sample in lanes[lane][batch * share : (batch + 1) * share]]
        for batch in range(order.batches(epoch))
    ]


ORDERS = st.builds(
    lambda counts, per_lane, window, seed: Order(tuple(counts), 8 * per_lane, 8, window, seed),
    counts=st.lists(st.integers(12, 40), min_size=8, max_size=30),
    per_lane=st.integers(1, 4),
    window=st.integers(1, 50),
    seed=st.integers(0, 2**31),
)


@given(ORDERS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_sample_comes_twice_and_all_batches_are_full(order: Order, epoch: int) -> None:
    batches = epoch_sequence(order, epoch)
    assert all(len(batch) == order.batch for batch in batches)
    assert max(Counter(sample for batch in batches for sample in batch).values()) == 1


@given(ORDERS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_global_sequence_is_the_same_for_any_number_of_ranks(order: Order, epoch: int) -> None:
    alone = epoch_sequence(order, epoch)
    for ranks in (2, 4, 8):
        assert epoch_sequence(order, epoch, ranks) == alone


def test_equal_shards_leave_out_less_than_a_batch() -> None:
    order = Order((750,) * 80, batch=128, lanes=16, window=1024, seed=0)
    seen = {sample for batch in epoch_sequence(order, 0) for sample in batch}
    assert order.batches(0) == 468
    assert len(seen) == 468 * 128 == 60_000 - 96


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [Order((50,) * 16, 16, 8, 64, seed) for seed in (0, 1)]
    sequences = [epoch_sequence(order, epoch) for order in orders for epoch in (0, 1)]
    for i, sequence in enumerate(sequences):
        assert all(sequence != other for other in sequences[i + 1 :])
    assert epoch_sequence(orders[0], 0) == sequences[0]


@pytest.mark.parametrize(
    ("counts", "batch", "lanes", "message"),
    [
        ((10,) * 4, 8, 8, "8 lanes need at least as many shards"),
        ((10,) * 8, 12, 8, "not a multiple of 8 lanes"),
        ((1,) * 8, 64, 8, "do not fill one batch"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(counts: tuple[int, ...], batch: int, lanes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Order(counts, batch, lanes, 16, 0)


def test_lanes_must_be_shared_equally() -> None:
    with pytest.raises(ValueError, match="cannot be shared by 3 ranks"):
        rank_lanes(8, 0, 3)
