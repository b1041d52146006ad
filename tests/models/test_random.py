"""Random numbers of a run: a function of seed and update, dealt out to ranks."""

import pytest
import torch

from unbraid.models.random import RandomSource

CPU = torch.device("cpu")


def test_uniform_numbers_fill_their_range() -> None:
    numbers = RandomSource(0, CPU).uniform(10_000, 1, low=-1.0, high=3.0)
    assert numbers.shape == (10_000, 1)
    assert -1 <= numbers.min() < -0.99
    assert 2.99 < numbers.max() < 3
    assert numbers.mean().item() == pytest.approx(1, abs=0.05)
    plain = RandomSource(0, CPU).uniform(10_000)
    assert plain.min() >= 0
    assert 0.99 < plain.max() < 1


def test_normal_numbers_have_mean_zero_and_deviation_one() -> None:
    numbers = RandomSource(0, CPU).normal(10_000, 2)
    assert numbers.mean().item() == pytest.approx(0, abs=0.03)
    assert numbers.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_ranks_of_several_lanes_take_their_rows_of_the_global_batch(kind: str) -> None:
    whole = getattr(RandomSource(5, CPU), kind)(12, 2)
    owned = {range(3): whole[:6], range(3, 5): whole[6:10], range(5, 6): whole[10:]}
    for lanes, expected in owned.items():
        assert torch.equal(getattr(RandomSource(5, CPU, 6, lanes), kind)(2 * len(lanes), 2), expected)


def test_another_seed_or_update_gives_other_numbers() -> None:
    sources = [RandomSource(0, CPU), RandomSource(1, CPU), RandomSource(0, CPU)]
    sources[2].seek(1)
    drawn = [source.uniform(4) for source in sources]
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == 3
    assert torch.equal(drawn[0], RandomSource(0, CPU).uniform(4))


def test_dropout_is_seeded_by_seed_update_and_rank() -> None:
    """Torch's default generator draws it: the same on a rank that starts again, another on each rank."""

    def dropped(seed: int, update: int, rank: int) -> torch.Tensor:
        torch.rand(3)
        RandomSource(seed, CPU, rank=rank).seek(update)
        return torch.nn.functional.dropout(torch.ones(64), 0.5)

    assert torch.equal(dropped(0, 3, 0), dropped(0, 3, 0))
    others = [dropped(0, 3, 1), dropped(0, 4, 0), dropped(1, 3, 0)]
    assert not any(torch.equal(dropped(0, 3, 0), other) for other in others)


def test_a_source_is_rank_0_of_one_by_default() -> None:
    drawn = []
    for source in (RandomSource(0, CPU), RandomSource(0, CPU, lanes=1, owned=range(1), rank=0)):
        source.seek(2)
        drawn.append(torch.cat([source.uniform(3), source.normal(3), torch.rand(3)]))
    assert torch.equal(*drawn)
