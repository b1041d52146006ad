"""Moving averages of weights."""

import pytest
import torch
from torch import nn

from unbraid.models.ema import ema_copy, move_towards, update_ema
from unbraid.models.normalization import GlobalBatchNorm


def linear(value: float) -> nn.Linear:
    network = nn.Linear(2, 1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return network


def test_a_copy_is_apart_from_its_network_and_is_not_trained() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = ema_copy(network)
    assert not ema.training
    assert network.training
    assert not any(p.requires_grad for p in ema.parameters())
    with torch.no_grad():
        network[0].weight.add_(1)  # type: ignore[operator]
    assert not torch.equal(ema[0].weight, network[0].weight)  # type: ignore[arg-type]


def test_the_average_moves_by_the_share_that_is_named() -> None:
    ema, network = linear(1.0), linear(3.0)
    move_towards(ema, network, 0.25)
    assert all((p == 1.5).all() for p in ema.parameters())
    assert all((p == 3.0).all() for p in network.parameters())


@pytest.mark.parametrize(
    ("updates", "decay", "every", "share"),
    [
        (10_000, 0.9, 1, 0.1),
        (10_000, 0.9, 10, 1 - 0.9**10),
        (10, 0.999, 10, 1 - (11 / 20) ** 10),  # few updates: a smaller decay
        (11, 0.9, 10, 0.0),  # not due
    ],
)
def test_the_decay_is_of_one_update_whatever_lies_between_two_moves(
    updates: int, decay: float, every: int, share: float
) -> None:
    ema, network = linear(0.0), linear(1.0)
    update_ema(ema, network, updates, decay, every)
    assert all(torch.allclose(p, torch.full_like(p, share)) for p in ema.parameters())


def test_statistics_are_copied_by_name() -> None:
    """A batch norm over all workers has no count of batches."""
    shared, ema = GlobalBatchNorm(3), nn.BatchNorm1d(3)
    shared.running_mean.fill_(5)
    shared.running_var.fill_(7)
    move_towards(ema, shared, 0.5)
    assert ema.running_mean is not None
    assert ema.running_var is not None
    assert (ema.running_mean == 5).all()
    assert (ema.running_var == 7).all()
