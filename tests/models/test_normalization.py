"""Batch norm over all ranks, and the statistics for evaluation. Ranks are simulated: all hold the same batch."""

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from unbraid.models.normalization import (
    GlobalBatchNorm,
    estimate_statistics,
    kept_statistics,
    sum_over_ranks,
    synchronise_batch_norm,
)


@pytest.fixture
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second rank with the same numbers as this one's."""
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.mul_(2))


def test_a_sum_over_ranks_passes_the_sum_of_gradients(two_ranks: None) -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    total = sum_over_ranks(x)
    assert total.tolist() == [2, 4]
    (3 * total[0] + total[1]).backward()
    assert x.tolist() == [1, 2]
    assert x.grad is not None
    assert x.grad.tolist() == [6, 2]


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 2)])
def test_two_ranks_normalise_as_one_with_both_batches(two_ranks: None, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours = GlobalBatchNorm(3, momentum=0.3, eps=0.01)
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3, momentum=0.3, eps=0.01)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.5)
    mine = torch.randn(shape, requires_grad=True)
    both = torch.cat([mine.detach(), mine.detach()]).requires_grad_()
    found, expected = ours(mine), theirs(both)
    weight = torch.randn(shape)
    (found * weight).sum().backward()
    (expected * torch.cat([weight, weight])).sum().backward()
    assert torch.allclose(found, expected[: len(mine)], atol=1e-5)
    assert mine.grad is not None
    assert both.grad is not None
    assert torch.allclose(mine.grad, both.grad[: len(mine)], atol=1e-5)
    assert isinstance(theirs.running_mean, Tensor)
    assert isinstance(theirs.running_var, Tensor)
    assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-6)
    assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-6)
    assert not ours.running_mean.requires_grad
    ours.eval()
    theirs.eval()
    assert torch.allclose(ours(mine), theirs(mine), atol=1e-5)


def test_global_batch_norm_computes_in_float32_and_keeps_the_inputs_type(two_ranks: None) -> None:
    x = (torch.randn(64, 3) + 100).bfloat16()
    norm = GlobalBatchNorm(3)
    normalised = norm(x)
    assert normalised.dtype == torch.bfloat16
    exact = (x.float() - x.float().mean(0)) * torch.rsqrt(x.float().var(0, unbiased=False) + 1e-5)
    assert torch.allclose(normalised.float(), exact, atol=0.02)
    assert norm.running_var.dtype == torch.float32


def test_one_sample_in_all_has_finite_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: None)
    norm = GlobalBatchNorm(3)
    assert torch.equal(norm(torch.ones(1, 3)), torch.zeros(1, 3))
    assert norm.running_var.tolist() == [pytest.approx(0.9)] * 3


def test_a_fresh_global_batch_norm_is_the_identity_in_evaluation() -> None:
    norm = GlobalBatchNorm(2).eval()
    x = torch.randn(3, 2)
    assert torch.allclose(norm(x), x, atol=1e-4)


def test_every_batch_norm_is_replaced_with_its_weights_and_settings() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Sequential(nn.BatchNorm1d(3, momentum=0.2, eps=0.1)), nn.Linear(3, 3), nn.BatchNorm1d(3))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    network.train()
    network(torch.randn(8, 3))
    before = network.state_dict()
    assert synchronise_batch_norm(network) is network
    replaced = [module for module in network.modules() if isinstance(module, GlobalBatchNorm)]
    assert [(norm.momentum, norm.eps) for norm in replaced] == [(0.2, 0.1), (0.1, 1e-5)]
    assert not any(isinstance(module, nn.BatchNorm1d) for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_state_of_torchs_batch_norm_is_taken_and_its_count_of_batches_left_out() -> None:
    theirs, ours = nn.BatchNorm1d(2), GlobalBatchNorm(2)
    theirs(torch.randn(5, 2) + 3)
    ours.load_state_dict(dict(theirs.state_dict()))
    assert torch.equal(ours.running_mean, networks_statistics(theirs)[0])


def networks_statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def test_statistics_for_evaluation_are_plain_means_over_batches() -> None:
    """At the weights of now: those from before, and torch's momentum, count for nothing."""
    norm = nn.BatchNorm1d(2, momentum=0.7)
    network = nn.Sequential(norm, nn.ReLU())
    network(torch.randn(9, 2) * 50)
    network.eval()
    batches = [torch.randn(5, 2) * scale for scale in (1, 2, 6)]
    estimate_statistics(network, network, batches)
    mean, variance = networks_statistics(norm)
    assert torch.allclose(mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-6)
    assert torch.allclose(variance, torch.stack([b.var(0) for b in batches]).mean(0), rtol=1e-5)
    assert not network.training
    assert norm.momentum == 0.7


def test_statistics_of_all_ranks_count_by_their_batches() -> None:
    """This rank has three batches, the other one has one, of mean 9 and variance 5."""
    norm, asked = nn.BatchNorm1d(1), []

    def total(tensor: Tensor) -> Tensor:
        asked.append(tensor)
        return tensor + (1.0, 9.0, 5.0)[len(asked) - 1]

    batches = [torch.randn(5, 1) for _ in range(3)]
    estimate_statistics(norm, norm, batches, total)
    mean, variance = networks_statistics(norm)
    means, variances = (torch.stack([getattr(b, name)() for b in batches]).sum() for name in ("mean", "var"))
    assert mean.item() == pytest.approx((means.item() + 9) / 4, rel=1e-4)
    assert variance.item() == pytest.approx((variances.item() + 5) / 4, rel=1e-4)


def test_estimating_statistics_keeps_no_graph() -> None:
    network, seen = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), []
    estimate_statistics(network, lambda batch: seen.append(network(batch)), [torch.randn(5, 2)])
    assert not seen[0].requires_grad


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, GlobalBatchNorm])
def test_kept_statistics_do_not_move_within_and_move_after(kind: type[nn.Module], two_ranks: None) -> None:
    norm = kind(2)
    network = nn.Sequential(nn.Linear(2, 2), norm)
    with pytest.raises(KeyError), kept_statistics(network):
        network(torch.randn(5, 2) + 7)
        assert norm.get_buffer("running_mean").tolist() == [0, 0]
        raise KeyError  # an error in an update must not leave statistics frozen
    assert norm.momentum == 0.1
    network(torch.randn(5, 2) + 7)
    assert norm.get_buffer("running_mean").abs().sum() > 0


def test_a_norm_without_scale_is_replaced_by_one_without() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3, affine=False))
    before = {name: value.clone() for name, value in network.state_dict().items() if "batches" not in name}
    synchronise_batch_norm(network)
    assert {name: value.tolist() for name, value in network.state_dict().items()} == {n: v.tolist() for n, v in before.items()}
    assert not list(network.parameters())
    x = torch.randn(50, 3) * 4 + 2
    assert torch.allclose(network.eval()(x), nn.BatchNorm1d(3, affine=False).eval()(x), atol=1e-6)
