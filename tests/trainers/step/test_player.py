"""A player: what its update changes, what it keeps of its weights."""

import pytest
import torch
from torch import nn

from tests.trainers.systems.infogan.test_system import batch as digits
from tests.trainers.systems.infogan.test_system import infogan
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.player import Player, adam_player, rmsprop_player

pytestmark = pytest.mark.usefixtures("one_thread")


def player(rate: float = 0.5) -> Player[nn.Linear]:
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    return Player("linear", network, torch.optim.SGD(network.parameters(), rate), None, World())


def test_an_update_is_one_step_down_the_gradient_and_forgets_the_last_one() -> None:
    mine = player()
    for expected in (0.5, 0.0, -0.5):
        mine.update(mine(torch.tensor([[1.0, 0.0]])).sum())
        assert mine.network.weight.flatten().tolist() == [expected, 1.0]


def test_a_scaled_rate_is_of_the_first_one_and_not_of_the_last() -> None:
    mine = player()
    for factor in (0.5, 0.1, 1.0):
        mine.scale_rate(factor)
        assert mine.optimizer.param_groups[0]["lr"] == 0.5 * factor


def test_a_frozen_player_passes_gradients_on_and_is_free_again_after_an_error() -> None:
    mine, x = player(), torch.ones(1, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="in between"), mine.frozen():
        mine.network(x).sum().backward()
        raise RuntimeError("in between")
    assert x.grad is not None
    assert mine.network.weight.grad is None
    assert mine.network.weight.requires_grad


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_a_player_keeps_a_moving_average_only_where_it_is_asked_to(kind: str) -> None:
    config = resolve("infogan-mnist")
    for ema in (True, False):
        network = nn.Linear(2, 1)
        made = (
            adam_player("mine", network, 0.1, (0.5, 0.9), config, World(), ema)
            if kind == "adam"
            else rmsprop_player("mine", network, 0.1, config, World(), ema)
        )
        assert set(made.networks) == ({"mine", "mine_ema"} if ema else {"mine"})
        assert type(made.optimizer).__name__.lower() == kind
        assert made.optimizer.param_groups[0]["lr"] == 0.1


def test_rmsprop_has_tensorflows_constants() -> None:
    """Two steps by hand, the second of a gradient so small that ε is felt."""
    made = rmsprop_player("mine", nn.Linear(1, 1, bias=False), 0.1, resolve("infogan-mnist"), World())
    weight, mean_square, expected = made.network.weight, 0.0, made.network.weight.item()
    for gradient in (2.0, 1e-5):
        made.update(gradient * weight.sum())
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        expected -= 0.1 * gradient / (mean_square**0.5 + 1e-5)
        assert weight.item() == pytest.approx(expected, rel=1e-5)
    made.optimizer.state[weight]["square_avg"].zero_()
    made.update(1e-5 * weight.sum())
    assert expected - weight.item() == pytest.approx(0.1 / (0.1**0.5 + 1), rel=1e-3)


def test_the_moving_average_lags_behind_and_is_neither_the_weights_nor_the_first_ones() -> None:
    """By hand: after update n the average moves by 1 − min(0.5, (1 + n) / (10 + n))."""
    system = infogan("optim.ema_decay=0.5", "optim.ema_every=1")
    network, ema = system.generator.network, system.generator.ema
    expected = [p.detach().clone() for p in network.parameters()]
    for n in (1, 2, 3):
        system.step(digits(n))
        share = 1 - min(0.5, (1 + n) / (10 + n))
        expected = [mean + share * (p.detach() - mean) for mean, p in zip(expected, network.parameters(), strict=True)]
    for mean, p, now in zip(expected, ema.parameters(), network.parameters(), strict=True):
        assert torch.allclose(mean, p, atol=1e-6)
        assert not torch.allclose(now, p, atol=1e-6)


def test_the_moving_average_is_moved_only_when_it_is_due() -> None:
    system = infogan("optim.ema_decay=0.9", "optim.ema_every=2")
    before = [p.detach().clone() for p in system.discriminator.ema.parameters()]
    system.step(digits(1))
    assert all(torch.equal(a, b) for a, b in zip(before, system.discriminator.ema.parameters(), strict=True))
    system.step(digits(2))
    assert not any(torch.equal(a, b) for a, b in zip(before, system.discriminator.ema.parameters(), strict=True))


def test_norms_are_of_the_gradient_and_of_what_the_step_added() -> None:
    mine = player(rate=0.5)
    mine.update(mine(torch.tensor([[3.0, 4.0]])).sum())
    assert mine.norms == {}
    mine.takes_norms = True
    mine.update(mine(torch.tensor([[3.0, 4.0]])).sum())
    assert {name: value.item() for name, value in mine.norms.items()} == {
        "gradient_norm/linear": pytest.approx(5.0), "update_norm/linear": pytest.approx(2.5),
    }  # fmt: skip
    assert mine.network.weight.flatten().tolist() == [1 - 3.0, 1 - 4.0], "two steps, the same as without norms"


def test_norms_are_taken_where_scalars_are_read_and_change_nothing_that_is_learnt() -> None:
    """Of every player, at every third update and at the last."""
    looking, blind = (infogan(f"run.log_every={every}", "run.updates=7") for every in (3, 10**6))
    for update in range(1, 8):
        seen, unseen = looking.step(digits(update)), blind.step(digits(update))
        norms = {name for name in seen if "_norm/" in name}
        wanted = {f"{what}_norm/{who}" for what in ("gradient", "update") for who in ("generator", "discriminator")}
        assert norms == (wanted if update in (3, 6, 7) else set())
        assert {name for name in unseen if "_norm/" in name} == (wanted if update == 7 else set())
    for a, b in zip(looking.generator.network.parameters(), blind.generator.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_rates_are_lowered_once_more_from_each_step_that_a_run_has_gone_back_to() -> None:
    mine, rates = infogan("optim.lr_generator=1.0"), []
    mine.lower_rates([2, 2, 4], 0.5)
    for update in range(6):
        mine.updates = update
        mine.begin_update()
        rates.append(mine.generator.optimizer.param_groups[0]["lr"])
    assert rates == [1, 1, 0.25, 0.25, 0.125, 0.125]
